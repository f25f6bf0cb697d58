"""Commands that look at runs: at one real small graph, and at folders made up for a test."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from toddle.cli import cli

from ..live.conftest import Bench, Run, wait_for

__all__ = ["Bench", "Run", "start", "wait_for"]


@pytest.fixture
def toddle(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command in this process: toddle(runs, "top", "--json")."""

    def call(runs: Path, *arguments: str) -> Result:
        monkeypatch.setenv("TODDLE_RUNS", str(runs))
        result = CliRunner().invoke(cli, list(arguments))
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def made_up(tmp_path: Path) -> Callable[..., Path]:
    """A run's folder without a run; `pid` is who is said to have written it, by default nobody."""

    def make(name: str, pid: int = 2**22 + 1, **changes: Any) -> Path:
        folder = tmp_path / "runs" / name
        (folder / "logs").mkdir(parents=True)
        ends = {lane: f"ipc://{tmp_path}/{name}-{lane}" for lane in ("latest", "reliable", "control")}
        nodes = [{"name": node, "kind": node, "endpoints": ends} for node in ("robot", "recorder", "viewer")]
        table = {
            "run": name, "run_dir": str(folder), "pid": pid, "nodes": nodes,
            "launcher": {"name": "launcher", "kind": "launcher", "endpoints": ends},
            "inputs": {"recorder": ["robot", "viewer"], "viewer": ["robot"], "robot": []}, **changes,
        }  # fmt: skip
        (folder / "run.json").write_text("{}")
        (folder / "graph.json").write_text(json.dumps(table))
        return folder

    return make


@pytest.fixture
def somebody() -> int:
    """The number of a process that runs, and is not this one."""
    return os.getppid()


def start(run: Run, *arguments: str) -> subprocess.Popen[str]:
    """A command that goes on, in a process of its own."""
    env = {**os.environ, "TODDLE_RUNS": str(run.path.parent)}
    command = [sys.executable, "-m", "toddle", *arguments]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A graph that runs; at its end its books must be whole."""
    bench = Bench(tmp_path_factory.mktemp("seeing"), [])
    options = {"size": 64, "radius": 2, "step": 5}
    run = bench.launch("run.yaml", "shared", options=options, rate_hz=50, window=False)
    try:
        run.running()
        yield run
        lookers = [start(run, *words) for words in (("topic", "echo", "frame"), ("logs", "--follow"))]
        for looker in lookers:
            assert looker.stdout.readline()
        run.interrupt()
        code, output, summary = run.end()
        assert code == 0, output
        for looker in lookers:
            errors = looker.communicate(timeout=60)[1]
            assert looker.returncode == 0 and "Traceback" not in errors, "who looks on ends with the run"
        for topic, subscribers in summary["topics"].items():
            for name, count in subscribers.items():
                assert count["published"] == count["received"] + count["skipped"] + count["lost"], (topic, name, count)
                assert count["lost"] == 0, (topic, name, count)
    finally:
        bench.end()
