"""`launch/run.yaml` with the real nodes: what a user starts, and what is left when it is killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
LIVE_NODES = ("recorder", "predictor", "robot")


@pytest.fixture
def toddle(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Starts `toddle launch launch/run.yaml` without a viewer, in a place of its own."""

    def one(*args: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "toddle", "launch", "launch/run.yaml", "--name", "r", "--set", "viewer=false", *args]
        env = {**os.environ, "TODDLE_RUNS": str(tmp_path / "runs"), "TODDLE_SESSIONS": str(tmp_path / "sessions")}
        output = (tmp_path / "out").open("w")
        with output:
            return subprocess.Popen(argv, cwd=ROOT, env=env, stdout=output, stderr=output, text=True)

    return one


def test_a_run_without_learning(toddle: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    process = toddle("--set", "steps=40")
    code = process.wait(90)
    text = (tmp_path / "out").read_text()
    assert code == 0, text
    summary: dict[str, Any] = json.loads((tmp_path / "runs" / "r" / "summary.json").read_text())
    assert summary["outcome"] == "ended"
    assert summary["steps"] == 40
    assert summary["session"] == "r"
    assert summary["scores"] == dict.fromkeys(summary["scores"])
    for topic, subscribers in summary["topics"].items():
        for name, count in subscribers.items():
            assert count["published"] == count["received"] + count["skipped"] + count["lost"], (topic, name)
            assert count["lost"] == 0, (topic, name)
    assert summary["topics"]["action/robot"]["recorder"]["received"] == 40
    assert (tmp_path / "sessions" / "r").is_dir()
    assert "actions   action=" in text
    assert "ms between frames" in text


def test_kill_9_of_the_launcher_leaves_no_node(
    toddle: Callable[..., subprocess.Popen[str]], tmp_path: Path, wait: Callable[..., Any]
) -> None:
    process = toddle()
    wait(lambda: "running 0:" in (tmp_path / "out").read_text() or process.poll() is not None, "the run")
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) == len(LIVE_NODES)
    process.send_signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    _, alive = psutil.wait_procs(children, 15)
    assert alive == []
