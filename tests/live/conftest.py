"""Whole graphs of real processes, started by the real command."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

PROJECT = Path(__file__).resolve().parents[2]
SMALL = {"size": 32, "radius": 2, "step": 5}
DEADLINE_S = 120.0


def gone(process: psutil.Process) -> bool:
    """Whether it has ended, waited for or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> Any:
    """The first true value of `condition`, asked again and again until the deadline."""
    end_s = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < end_s:
        value = condition()
        if value:
            return value
        pause.wait(0.02)
    raise AssertionError(f"{what}: not within {seconds:g} s")


@dataclass
class Run:
    """One `toddle launch`."""

    name: str
    folder: Path
    process: subprocess.Popen[str]

    @property
    def path(self) -> Path:
        return self.folder / "runs" / self.name

    def end(self, seconds: float = DEADLINE_S) -> tuple[int, str, dict[str, Any]]:
        """Wait for its end: exit code, output, summary."""
        output, _ = self.process.communicate(timeout=seconds)
        summary = self.path / "summary.json"
        return self.process.returncode, output, json.loads(summary.read_bytes()) if summary.exists() else {}

    def node(self, name: str) -> psutil.Process | None:
        """The process of a node, if it lives."""
        wiring = str(self.path / "wiring" / f"{name}.json")
        for child in self._children():
            try:
                if wiring in child.cmdline():
                    return child
            except psutil.Error:
                continue
        return None

    def ask(self, name: str, command: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        """A control request to a node, with the graph's own key if it has one."""
        import zmq

        from protocol import control, keys

        table = json.loads((self.path / "graph.json").read_bytes())
        node = next(node for node in table["nodes"] if node["name"] == name)
        own = keys.read_pair(self.folder / "keys", "robot-pc") if node["key"] else None
        with zmq.Context() as context:
            return control.ask(context, node["endpoints"]["control"], command, args or {}, "a test", 10.0, own, node["key"])

    def status(self, name: str) -> dict[str, Any]:
        """A node's status; empty while it does not answer."""
        from protocol.errors import ControlError

        try:
            return dict(self.ask(name, "status")["status"])
        except (ControlError, FileNotFoundError, StopIteration):
            return {}

    def running(self, name: str = "robot") -> None:
        wait_for(lambda: self.status(name).get("state") in ("running", "paused"), f"{name} is running")

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


@dataclass
class Bench:
    """A folder of runs and sessions, and the command."""

    folder: Path
    runs: list[Run]

    def env(self) -> dict[str, str]:
        folders = {f"TODDLE_{name.upper()}": str(self.folder / name) for name in ("runs", "sessions", "keys")}
        return {**{k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}, **folders}

    def launch(self, file: str, name: str, *options: str, **sets: Any) -> Run:
        given = [part for key, value in sets.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        command = [sys.executable, "-m", "toddle", "launch", str(Path("launch", file)), "--name", name, *given, *options]
        process = subprocess.Popen(command, cwd=PROJECT, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.runs.append(Run(name, self.folder, process))
        return self.runs[-1]

    def launch_own(self, file: str, name: str) -> Run:
        """A launch file, and drivers, of the bench's own folder."""
        command = [sys.executable, "-m", "toddle", "launch", file, "--name", name]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.env(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )  # fmt: skip
        self.runs.append(Run(name, self.folder, process))
        return self.runs[-1]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A `toddle` command that goes on."""
        return subprocess.Popen([sys.executable, "-m", "toddle", *arguments], cwd=PROJECT, env=self.env(), stdout=subprocess.DEVNULL)

    def toddle(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "toddle", *arguments],
            cwd=self.folder,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    def end(self) -> None:
        """Nothing that was launched is left."""
        for run in self.runs:
            children = run._children()
            if run.process.poll() is None:
                run.process.kill()
            run.process.wait()
            if run.process.stdout:
                run.process.stdout.close()
            for child in children:
                with suppress(psutil.NoSuchProcess):
                    child.kill()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, [])
    yield made
    made.end()


def check_law(summary: dict[str, Any], *, lost: bool = False) -> None:
    """published = received + skipped + lost for every topic and subscriber; nothing lost unless said."""
    assert summary["topics"]
    for topic, subscribers in summary["topics"].items():
        for name, count in subscribers.items():
            assert count["published"] == count["received"] + count["skipped"] + count["lost"], (topic, name, count)
            if not lost:
                assert count["lost"] == 0, (topic, name, count)
