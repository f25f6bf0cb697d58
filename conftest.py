"""For all tests: where the real recordings are, and the rule that nothing may be skipped in CI."""

import os
from pathlib import Path

import pytest


def recordings_folder() -> Path:
    """TODDLE_DATA, or the folder beside the project."""
    return Path(os.environ.get("TODDLE_DATA") or Path(__file__).resolve().parent.parent / "shared" / "data")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; the test is skipped, with the reason, where it is missing."""
    folder = recordings_folder()
    if not folder.is_dir():
        pytest.skip(f"no real recordings in {folder}: set TODDLE_DATA to their folder")
    return folder


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With TODDLE_NO_SKIP a skipped test is a failure: something was not installed that should have been."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("TODDLE_NO_SKIP") and skipped:
        terminalreporter.write_line(f"TODDLE_NO_SKIP: {len(skipped)} tests were skipped", red=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("TODDLE_NO_SKIP") and reporter is not None and reporter.stats.get("skipped") and exitstatus == 0:
        session.exitstatus = 1
