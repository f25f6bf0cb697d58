"""Buses over real sockets in a short private folder, and one example of every message; helpers are fixtures."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol import messages as m
from protocol.bus import Bus
from protocol.control import ControlRequest
from protocol.topics import taken
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring

from .mutations import EXAMPLES

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LIMIT_S = 30.0


def _wait(condition: Callable[[], Any], what: str = "it", limit_s: float = LIMIT_S) -> Any:
    deadline_s = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited {limit_s:g} s for {what}"
        time.sleep(0.002)
    return found


@pytest.fixture
def wait() -> Callable[..., Any]:
    """What a condition returns once it is true; fails after a long while."""
    return _wait


class Graph:
    """Nodes by name; `inputs` and `subscribers` are given as (name, kind)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.buses: list[Bus] = []
        self.processes: list[subprocess.Popen[str]] = []

    def endpoints(self, name: str) -> Endpoints:
        return Endpoints(*(f"ipc://{self.folder}/{name}.{lane}" for lane in ("l", "r", "c")))

    def peer(self, name: str, kind: str) -> Peer:
        return Peer(name, kind, self.endpoints(name))

    def wiring(
        self, name: str, kind: str, inputs: list[tuple[str, str]] | None = None,
        subscribers: list[tuple[str, str]] | None = None, **options: Any,
    ) -> Wiring:  # fmt: skip
        options = {"endpoints": self.endpoints(name), "max_age_s": 1e6, **options}
        return Wiring(
            run="test", run_dir=str(self.folder), name=name, kind=kind, inputs=[self.peer(*one) for one in inputs or []],
            subscribers=[Subscriber(*one) for one in subscribers or []], **options,
        )  # fmt: skip

    def bus(self, name: str, kind: str, *, subscribe: bool = True, resume: Any = None, clock: Any = None, **wired: Any) -> Bus:
        """A bus that is bound and connected."""
        bus = Bus(self.wiring(name, kind, **wired), clock)
        self.buses.append(bus)
        bus.start()
        if subscribe:
            bus.subscribe(resume)
        return bus

    def process(self, name: str, kind: str, mode: str, *args: str, **wired: Any) -> subprocess.Popen[str]:
        """A node in a process of its own: `peer.py` in one of its modes."""
        path = self.folder / f"{name}.json"
        self.wiring(name, kind, **wired).write(path)
        argv = [sys.executable, str(HERE / "peer.py"), str(path), mode, *args]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(argv, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        for bus in reversed(self.buses):
            bus.abandon()
            bus.close(drain_s=0)


@pytest.fixture
def graph() -> Iterator[Graph]:
    with tempfile.TemporaryDirectory(prefix="td") as folder:  # short: an ipc path holds about 100 bytes
        graph = Graph(Path(folder))
        yield graph
        graph.end()


@pytest.fixture
def take() -> Callable[..., list[m.Message]]:
    """Takes messages of a kind until there are `count`, or until `until` is true."""

    def messages(bus: Bus, kind: str, count: int | None = None, until: Callable[[list[m.Message]], bool] | None = None) -> list[m.Message]:
        found: list[m.Message] = []

        def enough() -> bool:
            thing = bus.next(0.02)
            while thing is not None:
                if isinstance(thing, m.Message) and thing.kind == kind:
                    found.append(thing)
                if until(found) if until else len(found) >= (count or 1):
                    return True
                thing = bus.next(0)
            return False

        _wait(enough, f"{count} {kind} messages")
        return found

    return messages


@pytest.fixture
def ready() -> Callable[[Bus], None]:
    """Waits until every declared subscriber is confirmed."""

    def confirmed(bus: Bus) -> None:
        _wait(lambda: not bus.status().missing, f"{bus.status().missing} to subscribe")

    return confirmed


@pytest.fixture
def settled() -> Callable[[Bus, Bus], None]:
    """Takes everything until the subscriber's books are closed, and checks the law on every topic."""

    def balance(publisher: Bus, subscriber: Bus) -> None:
        while True:
            _wait(lambda: subscriber.status() is not None)
            if subscriber.next(0.02) is None and subscriber.inputs_ended():
                break
        lanes = taken(publisher.wiring.kind, subscriber.wiring.kind)
        told = {t: n + 1 for t, n in publisher.status().last_seq.items()}
        for topic, count in subscriber.status().counts.items():
            assert count.published == count.received + count.skipped + count.lost
            assert count.lane == lanes[topic.partition("/")[0]]
            assert count.published == told.get(topic, 0)

    return balance


@pytest.fixture
def answering() -> Callable[[Bus], Callable[[], None]]:
    """Answers control requests of a bus in the test's own thread, one call at a time."""

    def answer(bus: Bus) -> Callable[[], None]:
        def once() -> None:
            thing = bus.next(0.02)
            if isinstance(thing, ControlRequest):
                thing.reply({"did": thing.command})

        return once

    return answer


@pytest.fixture
def examples() -> dict[str, tuple[m.Body, dict[str, np.ndarray]]]:
    """A body, and arrays where its topic has them, for every row of the table."""
    return EXAMPLES


@pytest.fixture
def make() -> Callable[..., m.Message]:
    """A message of a topic kind."""

    def message(kind: str, body: m.Body, arrays: dict[str, np.ndarray] | None = None, seq: int = 0, **fields: Any) -> m.Message:
        fields = {"run": "run-1", "t_ns": 10**18, "mono_ns": 5, **fields}
        return m.Message(envelope=m.Envelope(topic=f"{kind}/node", source="node", seq=seq, **fields), body=body, arrays=arrays or {})

    return message
