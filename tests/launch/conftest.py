"""Launch files in a temporary folder, and whole runs with stand-ins for nodes."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import yaml

from launch import run
from launch.errors import LaunchError
from launch.graph import table, wirings
from launch.rundir import resolved_file
from protocol.wiring import Endpoints, Wiring
from toddle.launch import hooks

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LIMIT_S = 40.0

Write = Callable[..., Path]
Judge = Callable[..., str]


def alive(pid: int, born_before_s: float = float("inf")) -> bool:
    """Whether a process of this number runs; not one that has ended and is not yet waited for, nor a later one of the same number."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= born_before_s
    except psutil.NoSuchProcess:
        return False


def _wait(condition: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """What `condition` returns once it is true; fails after `limit_s`."""
    deadline_s = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited {limit_s:g} s for {what}"
        time.sleep(0.02)
    return found


@pytest.fixture
def wait() -> Callable[..., Any]:
    return _wait


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a launch file."""

    def one(text: str, name: str = "g.yaml") -> Path:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    return one


def _check_starts(options: run.Options) -> None:
    """A graph that passed is told to its nodes and in its folder without a loss."""
    plan = run.plan(options, hooks())
    ends = {name: Endpoints("ipc://l", "ipc://r", "ipc://c") for name in (*plan.graph.nodes, "launcher")}
    wired = wirings(plan.graph, ends, plan.name, plan.folder)
    for one in wired.values():
        told = msgspec.json.encode(one)
        assert msgspec.json.encode(msgspec.json.decode(told, type=Wiring)) == told
    assert msgspec.json.encode(table(plan.graph, wired, 1))
    assert yaml.safe_dump(resolved_file(plan.graph))


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """`graph`, or the line that refuses a launch file."""
    file = tmp_path / "g.yaml"

    def one(text: str | bytes, *sets: str) -> str:
        file.write_bytes(text if isinstance(text, bytes) else text.encode(errors="surrogatepass"))
        options = run.Options(file=file, sets=sets, name="r", runs=str(tmp_path / "runs"))
        try:
            run.dry_run(options, hooks())
        except LaunchError as error:
            refused = error
        else:
            _check_starts(options)
            return "graph"
        assert str(refused).isprintable()
        assert re.match(rf"{re.escape(str(tmp_path))}/[^:]*(:\d+)?: |--set |cannot bind |\w", str(refused))
        return str(refused)

    return one


class Running:
    """A run in a process of its own."""

    def __init__(self, file: Path, runs: Path, times: tuple[float, ...], env: dict[str, str]) -> None:
        self.path = runs / "r"
        self.output = runs.with_suffix(".out")
        argv = [sys.executable, str(HERE / "starter.py"), str(file), str(runs), "r", *map(str, times)]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(argv, stdout=out, stderr=out, cwd=ROOT, env={**os.environ, **env})

    def pid(self, name: str, what: str = "pid") -> int:
        """The process of a node, once it has begun."""
        path = self.path / "logs" / f"{name}.{what}"
        return int(_wait(lambda: path.exists() and path.read_text(), f"{path}"))

    def pids(self) -> list[int]:
        return [int(path.read_text() or 0) for path in (self.path / "logs").glob("*.pid")]

    def text(self) -> str:
        return self.output.read_text()

    def says(self, text: str) -> None:
        _wait(lambda: text in self.text() or self.process.poll() is not None, repr(text))
        assert text in self.text(), self.text()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def wait(self) -> int:
        return self.process.wait(LIMIT_S)

    def summary(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path / "summary.json").read_text())
        return found

    def nobody_left(self, pids: list[int]) -> None:
        now_s = time.time()

        def left() -> list[int]:
            return [pid for pid in pids if alive(pid, born_before_s=now_s)]

        _wait(lambda: not left(), f"all of {pids} to end")

    def end(self) -> None:
        for pid in [*self.pids(), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path, write: Write) -> Iterator[Callable[..., Running]]:
    """Starts a launch file given as text."""
    running: list[Running] = []

    def one(text: str, *times: float, env: dict[str, str] | None = None) -> Running:
        running.append(Running(write(text), tmp_path / "runs", times, env or {}))
        return running[-1]

    yield one
    for each in running:
        each.end()
