"""Runs that start and stop again and again in one process leave nothing behind."""

import io
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from launch import run

from .starter import hooks

GRAPH = """
nodes:
  recorder: {kind: recorder, inputs: [robot, trainer]}
  trainer: {kind: trainer, inputs: [robot]}
  robot: {kind: robot, params: {steps: 5}}
"""
SHARED = Path("/dev/shm")


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="tl") as folder:  # short: an ipc path holds about 100 bytes
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def shared_memory() -> set[str]:
    """What this user has in shared memory."""
    return {one.name for one in SHARED.iterdir() if one.stat().st_uid == os.getuid()} if SHARED.is_dir() else set()


@pytest.mark.parametrize("turns", [3, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_starts_and_stops_leave_nothing(write: Callable[..., Path], tmp_path: Path, sockets: Path, wait: Any, turns: int) -> None:
    process = psutil.Process()
    file = write(GRAPH)

    def once(turn: int) -> None:
        screen = io.StringIO()
        code = run.run(run.Options(file=file, runs=str(tmp_path / "runs"), name=f"r{turn}"), hooks(), Console(file=screen))
        assert code == 0, screen.getvalue()
        assert not process.children(recursive=True)
        assert [path for folder in sockets.iterdir() for path in folder.iterdir()] == []

    once(0)
    files, threads, shared = process.num_fds(), set(threading.enumerate()), shared_memory()
    for turn in range(1, turns + 1):
        once(turn)
    assert process.num_fds() <= files
    assert set(threading.enumerate()) <= threads
    # other programs have some there too, but not one for each start
    wait(lambda: len(shared_memory() - shared) < turns, "shared memory to be given back")
