"""For all tests: where the real recordings are, and the rule that nothing may be skipped in CI."""

import os
from pathlib import Path

import pytest

NO_RECORDINGS = "no real recordings"


def recordings_folder() -> Path:
    """TODDLE_DATA, or the folder beside the project."""
    return Path(os.environ.get("TODDLE_DATA") or Path(__file__).resolve().parent.parent / "shared" / "data")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; the test is skipped, with the reason, where it is missing."""
    folder = recordings_folder()
    if not folder.is_dir():
        pytest.skip(f"{NO_RECORDINGS} in {folder}: set TODDLE_DATA to their folder")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With TODDLE_NO_SKIP a skip is a failure, but for missing recordings: the rest could have been installed."""
    for reason in _avoidable(terminalreporter):
        terminalreporter.write_line(f"skipped, and should not have been: {reason}", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _avoidable(reporter) and exitstatus == 0:
        session.exitstatus = 1


def _avoidable(reporter: pytest.TerminalReporter) -> list[str]:
    if not os.environ.get("TODDLE_NO_SKIP"):
        return []
    reasons = [str(report.longrepr) for report in reporter.stats.get("skipped", [])]
    return [reason for reason in reasons if NO_RECORDINGS not in reason]
