"""Starts and stops, many after another, leave nothing on the machine."""

import os
import tempfile
from pathlib import Path

import psutil
import pytest

from .conftest import SMALL, Bench, check_law


def _processes(folder: Path) -> list[str]:
    """Processes of this user that know of the folder, by their command or their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == os.getpid() or process.uids().real != os.getuid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if any(str(folder) in text for text in (*process.cmdline(), *process.environ().values())):
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except psutil.Error:
            continue
    return found


def _start_and_stop(bench: Bench, name: str) -> None:
    code, output, summary = bench.launch("run.yaml", name, options=SMALL, viewer=False, rate_hz=50, steps=20).end()
    assert code == 0 and summary["steps"] == 20, output
    check_law(summary)


@pytest.mark.parametrize("count", [2, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_starts_leave_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """After the first, which makes the user's folder of sockets."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="t-") as short:  # a socket's path has a limit
        places = [Path(short, name) for name in ("tmp", "xdg")]
        for place, variable in zip(places, ("TMPDIR", "XDG_RUNTIME_DIR"), strict=True):
            place.mkdir(mode=0o700)
            monkeypatch.setenv(variable, str(place))
        _start_and_stop(bench, "first")
        made_once = {path for place in places for path in place.rglob("*")}
        assert all(path.is_dir() for path in made_once), made_once
        memory = set(shared.iterdir()) if shared.is_dir() else set()
        for number in range(count):
            _start_and_stop(bench, f"run-{number}")
        assert _processes(bench.folder) == []
        assert {path for place in places for path in place.rglob("*")} == made_once
    left = set(shared.iterdir()) - memory if shared.is_dir() else set()
    assert len(left) < count, f"{left}: other programs have some there too, but not one for each start"
