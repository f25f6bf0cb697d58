"""Two hosts in two network namespaces, joined by a cable that can be cut; each has its own keys, runs and sessions."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import zmq

from protocol import control, keys

PROJECT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60.0
ADDRESSES = {"robot-pc": "10.77.0.1", "gpu-pc": "10.77.0.2"}

FILE = """
include: {file}
hosts: {{robot-pc: 10.77.0.1, gpu-pc: 10.77.0.2}}
base_port: 27000
nodes:
  robot: {{host: robot-pc}}
  recorder: {{host: gpu-pc}}
  predictor: {{host: gpu-pc}}
  viewer: {{host: gpu-pc, if: false}}
"""
SETS = {"options": "{size: 32, radius: 2, step: 5}", "rate_hz": "50", "silence_s": "1", "viewer": "false"}


def wait_for(condition: Callable[[], Any], what: str, seconds: float = DEADLINE_S) -> Any:
    """The first true value of `condition`, asked again and again until the deadline."""
    end_s = time.monotonic() + seconds
    pause = threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end_s, f"{what}: not within {seconds:g} s"
        pause.wait(0.02)
    return value


class Launcher:
    """`toddle launch --on NAME` on one host."""

    def __init__(self, host: "HostPC", file: Path, *options: str) -> None:
        self.host = host
        self.output = host.folder / f"output-{len(list(host.folder.glob('output-*')))}"
        given = [part for name, value in SETS.items() for part in ("--set", f"{name}={value}")]
        command = [sys.executable, "-m", "toddle", "launch", str(file), *given, "--on", host.name, "--name", "r", *options]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen([*host.inside, *command], cwd=PROJECT, env=host.env(), stdout=out, stderr=out)

    def text(self) -> str:
        return self.output.read_text()

    def says(self, text: str) -> str:
        """The line with `text`, once it is there."""
        wait_for(lambda: text in self.text() or self.process.poll() is not None, f"{self.host.name} says {text!r}")
        assert text in self.text(), self.text()
        return next(line for line in self.text().splitlines() if text in line)

    def frames(self) -> int:
        """How many the robot has published: it is asked from this host."""
        table = json.loads((self.host.run / "graph.json").read_bytes())
        node = next(node for node in table["nodes"] if node["name"] == "robot")
        own = keys.read_pair(self.host.folder / "keys", self.host.name)

        def ask() -> dict[str, Any]:
            with open(f"/run/netns/{self.host.namespace}") as namespace, zmq.Context() as context:
                os.setns(namespace.fileno(), os.CLONE_NEWNET)  # of this thread, and of those of zmq that it starts
                return control.ask(context, node["endpoints"]["control"], "status", {}, "a test", 10.0, own, node["key"])

        with ThreadPoolExecutor(1) as thread:
            return int(thread.submit(ask).result()["status"]["last_seq"].get("frame/robot", -1)) + 1

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        return self.process.wait(DEADLINE_S)

    def node(self, name: str) -> psutil.Process:
        """The process of a node."""
        found = [one for one in psutil.Process(self.process.pid).children(recursive=True) if f"nodes.{name}" in one.cmdline()]
        return found[0]


class HostPC:
    """A network namespace with a folder of its own."""

    def __init__(self, name: str, namespace: str, folder: Path) -> None:
        self.name, self.namespace, self.folder = name, namespace, folder
        self.inside = ["nsenter", f"--net=/run/netns/{namespace}"]
        self.launchers: list[Launcher] = []
        folder.mkdir()
        self.key = keys.new(folder / "keys", name)

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "r"

    def env(self) -> dict[str, str]:
        folders = {f"TODDLE_{name.upper()}": str(self.folder / name) for name in ("runs", "sessions", "keys")}
        return {**{k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}, **folders}

    def allow(self, name: str, key: str) -> None:
        keys.allow(self.folder / "keys", name, key)

    def launch(self, file: Path, *options: str) -> Launcher:
        self.launchers.append(Launcher(self, file, *options))
        return self.launchers[-1]

    def toddle(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.inside, sys.executable, "-m", "toddle", *arguments]
        return subprocess.run(command, cwd=PROJECT, env=self.env(), capture_output=True, text=True, timeout=DEADLINE_S, check=False)


class TwoHosts:
    """Both hosts and the cable between them; OSError where this machine lets nobody make a network namespace."""

    def __init__(self, folder: Path) -> None:
        self._names = {name: f"td{os.getpid()}{letter}" for name, letter in zip(ADDRESSES, "ab", strict=True)}
        self.file = folder / "two.yaml"
        self.file.write_text(FILE.format(file=PROJECT / "launch" / "run.yaml"))
        self.hosts: list[HostPC] = []
        try:
            for namespace in self._names.values():
                _ip("netns", "add", namespace)
                _ip("-n", namespace, "link", "set", "lo", "up")
            a, b = self._names.values()
            _ip("-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", b)
            for name, namespace in self._names.items():
                _ip("-n", namespace, "addr", "add", f"{ADDRESSES[name]}/24", "dev", "cable")
                _ip("-n", namespace, "link", "set", "cable", "up")
                self.hosts.append(HostPC(name, namespace, folder / name))
            _inside(self.hosts[0], "true")
        except OSError:
            self.close()
            raise

    def cable(self, state: str) -> None:
        """`down` is a cut, `up` heals it."""
        _ip("-n", self.hosts[0].namespace, "link", "set", "cable", state)

    def close(self) -> None:
        for host in self.hosts:
            for launcher in host.launchers:
                launcher.process.kill()
                launcher.process.wait()
        for namespace in self._names.values():
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def _inside(host: HostPC, command: str) -> None:
    done = subprocess.run([*host.inside, command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())
