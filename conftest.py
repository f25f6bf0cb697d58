"""For all tests: where the real recordings are, and the rule that nothing may be skipped in CI."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

# before anything imports torch: threads that spin while they wait take the core that another process needs, and a busy
# machine learns five times as slowly; the launcher sets it for its nodes too
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# a shell's background job ignores Ctrl-C, and so would every process that a test starts and interrupts
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

NO_RECORDINGS = "no real recordings"
NO_DONKEYCAR = "donkeycar is not installed"  # nothing of toddle needs it: one test reads a tub with it, where somebody has it

NO_NAMESPACES = "no network namespaces"  # they take root, and a container that may make them


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


@pytest.fixture(scope="session")
def content() -> Callable[[Path], str]:
    """The hash of all that the session, or split, at a path holds."""
    from storage.content_hash import ContentHash
    from storage.views import open_session

    def of(path: Path) -> str:
        hashed = ContentHash()
        with open_session(path) as reader:
            for event in reader.numbered():
                hashed.add(event)
        return hashed.hexdigest()

    return of


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """With TODDLE_NO_SKIP a skip is a failure, but for what cannot be installed: recordings, namespaces."""
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
    excused = (NO_RECORDINGS, NO_DONKEYCAR, NO_NAMESPACES)
    return [reason for reason in reasons if not any(one in reason for one in excused)]
