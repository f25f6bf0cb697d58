"""The real server of a JetBot, as a process of its own, reached over TCP; its camera and motors are its simulation."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import rpyc

from nodes.robot.jetbot.driver import JetBot
from onboard import jetbot_server
from tests.live.conftest import wait_for
from tests.live.relay import Relay

SERVER = Path(__file__).resolve().parents[3] / "onboard" / "jetbot_server.py"

WATCHDOG_S = 1.0
"""Longer than on a real one: tests may share their machine."""


@dataclass
class Server:
    """One that runs, and an observer of its motors that goes around any relay."""

    process: subprocess.Popen[str]
    port: int
    said: list[str]

    def status(self) -> tuple[Any, ...]:
        """Left, right, since when, why, who drives, the clock."""
        with rpyc.connect("127.0.0.1", self.port) as connection:
            return tuple(connection.root.get_status())

    def moving(self) -> bool:
        return any(self.status()[:2])

    def wait_moving(self) -> None:
        wait_for(self.moving, "the motors turn")

    def wait_stopped(self) -> tuple[Any, ...]:
        """The status of motors that stand."""
        return wait_for(lambda: not any((status := self.status())[:2]) and status, "the motors stand")

    def end(self) -> int:
        self.process.terminate()
        code = self.process.wait(20)
        self.process.stderr.close()
        return code


def start_server(*options: str) -> Server:
    """It listens when this returns; AssertionError with its words when it does not come up."""
    command = [sys.executable, str(SERVER), "--host", "127.0.0.1", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=os.sep)
    said: list[str] = []
    for line in process.stderr:
        said.append(line.rstrip())
        if found := re.search(r"listening on \S*:(\d+)", line):
            return Server(process, int(found[1]), said)
    process.wait(20)
    process.stderr.close()
    raise AssertionError(said)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    server = start_server("--camera", "test", "--size", "64", "--fps", "60", "--watchdog-s", str(WATCHDOG_S))
    yield server
    assert server.end() == 0


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """One server for the tests of a file; its motors stand before and after each."""
    shared_server.wait_stopped()
    yield shared_server
    shared_server.wait_stopped()


@pytest.fixture
def robot() -> Iterator[Callable[..., JetBot]]:
    """A driver connected to a port, with options."""
    made: list[JetBot] = []

    def make(port: int, **options: Any) -> JetBot:
        made.append(JetBot({"host": "127.0.0.1", "port": port, "reconnect_s": 20, "call_timeout_s": WATCHDOG_S, **options}, 0))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    """A link to the server that can be told to misbehave."""
    made = Relay(server.port)
    yield made
    made.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., int]]:
    """Serve an rpyc service of the test's own, in this process; its port."""
    servers: list[jetbot_server.Server] = []

    def start(service: Any, kind: Any = jetbot_server.Server) -> int:
        server = kind(service, hostname="127.0.0.1", port=0, auto_register=False)
        server._listen()
        threading.Thread(target=server.start, daemon=True).start()
        servers.append(server)
        return int(server.port)

    yield start
    for one in servers:
        one.close()
