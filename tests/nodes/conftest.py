"""Nodes without a bus: what they publish is written down, what they take is handed to them."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol import codec
from protocol import messages as m
from protocol.clock import SystemClock
from protocol.control import ControlRequest
from protocol.wiring import Endpoints, Peer, Wiring

ENDS = Endpoints("ipc://l", "ipc://r", "ipc://c")


def wait_until(condition: Callable[[], Any], what: str = "it", limit_s: float = 30.0) -> Any:
    deadline_s = time.monotonic() + limit_s
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited {limit_s:g} s for {what}"
        time.sleep(0.005)
    return found


@pytest.fixture
def wait() -> Callable[..., Any]:
    """What a condition returns once it is true; fails after a long while."""
    return wait_until


class Paper:
    """In place of a bus: every message goes through the codec and is kept."""

    def __init__(self) -> None:
        self.sent: list[m.Message] = []
        self.said: dict[str, Any] = {"state": "running"}
        self.refused: list[str] = []
        self.handled: dict[str, tuple[str, int]] = {}
        self.clock = SystemClock()
        self.stop_requested = False
        self.urgent: dict[str, Callable[[ControlRequest], None]] = {}
        self._lock = threading.Lock()

    @property
    def state(self) -> str:
        return self.said["state"]

    def delivered(self) -> bool:
        return True

    def refuse(self, reason: str) -> None:
        self.refused.append(reason)

    def publish(
        self, kind: str, body: m.Body, arrays: Mapping[str, np.ndarray], *, episode: int | None = None,
        step: int | None = None, t_ns: int | None = None, wait: bool = True,
    ) -> int:  # fmt: skip
        with self._lock:  # a robot's watchdog publishes too
            seq = len(self.of(kind))
            envelope = m.Envelope(
                topic=f"{kind}/node", source="node", run="run-1", seq=seq, t_ns=t_ns or self.clock.wall_ns(),
                mono_ns=self.clock.mono_ns(), episode=episode, step=step,
            )  # fmt: skip
            message = m.Message(envelope=envelope, body=body, arrays=dict(arrays))
            self.sent.append(codec.decode([bytes(part) for part in codec.encode(message)]))
            return seq

    def set_state(self, state: str | None = None, **fields: Any) -> None:
        given = {"state": state, **fields}
        self.said |= {name: value for name, value in given.items() if value is not None}

    def of(self, kind: str) -> list[m.Message]:
        return [message for message in self.sent if message.kind == kind]

    def alarms(self) -> list[tuple[str, bool]]:
        """(name, whether it is on) in the order of publication."""
        return [(one.body.name, one.body.active) for one in self.of("alarm")]

    def places(self, *kinds: str) -> list[tuple[str, int | None, int | None]]:
        """(kind, episode, step) in the order of publication; a mark goes by its name."""
        return [
            (one.body.mark if one.kind == "episode" else one.kind, one.envelope.episode, one.envelope.step)
            for one in self.sent if one.kind in kinds
        ]  # fmt: skip


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """A node of a class and config, set up; its bus is paper. `inputs` are (name, kind)."""
    everyone: list[Any] = []

    def make(node_class: Any, config: Any, inputs: list[tuple[str, str]] | None = None, seed: int = 0, setup: bool = True) -> Any:
        peers = [Peer(*one, ENDS) for one in inputs or []]
        wiring = Wiring(run="t", run_dir=str(tmp_path), name="node", kind="robot", endpoints=ENDS, inputs=peers, seed=seed)
        made = node_class(wiring, config, Paper())
        everyone.append(made)
        if setup:
            made.setup()
        return made

    yield make
    for one in everyone:
        if hasattr(one, "watchdog"):
            one.watchdog.finish()


@pytest.fixture
def message() -> Callable[..., m.Message]:
    """A message as a node takes it."""

    def make(
        kind: str, body: m.Body, arrays: dict[str, np.ndarray] | None = None, episode: int | None = 0, step: int | None = 0, run: str = "q"
    ) -> m.Message:
        envelope = m.Envelope(topic=f"{kind}/robot", source="robot", run=run, seq=0, t_ns=0, mono_ns=0, episode=episode, step=step)
        return m.Message(envelope=envelope, body=body, arrays=arrays or {})

    return make


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """For sockets: an ipc path holds about 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="tn") as folder:
        yield Path(folder)


@pytest.fixture
def dot_robot() -> m.Robot:
    """What a small dot robot says of itself."""
    space = m.ActionSpaceInfo(names=["action"], choices=[{"action": 0.0}, {"action": 1.0}])
    return m.Robot(
        robot="robot", driver="toroidal_dot", params={}, cameras=[m.CameraInfo(name="top", height=16, width=16)],
        actions=space, rate_hz=0.0, timing="lockstep", safe_action={"action": 0.0},
    )  # fmt: skip
