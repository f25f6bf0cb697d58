"""A tiny node of any kind, on the real runtime: what the launcher's tests start instead of the real ones.

python tests/launch/standin.py WIRING
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nodes.runtime import Node, NodeError, main
from protocol.messages import (
    Action,
    ActionTaken,
    Command,
    Committed,
    EpisodeMark,
    Frame,
    Message,
    Prediction,
    Weights,
)  # fmt: skip


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a stand-in does, and how it misbehaves."""

    rate_hz: float = 50.0
    steps: int = 0
    outcome: str = "ended"
    fail_after: int = 0
    exit_code: int = 1
    mute: bool = False
    ignore_stop: bool = False
    grandchild: bool = False
    scores: dict[str, float] = {}
    mark_s: float = 0.0
    setup_s: float = 0.0
    hang_after: int = 0
    segfault_after: int = 0
    flood: int = 0
    break_thread: bool = False
    setup_fails: bool = False
    alarm: str = ""


class StandIn(Node):
    """Publishes what a node of its kind publishes, small."""

    config: Config

    def setup(self) -> None:
        self.drains = self.wiring.kind in ("recorder", "trainer")
        self.count = 0
        self.next_s = 0.0
        (self.run_dir / "logs" / f"{self.name}.pid").write_text(str(os.getpid()))
        if self.config.grandchild:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            (self.run_dir / "logs" / f"{self.name}.grandchild").write_text(str(child.pid))
        deadline_s = time.monotonic() + self.config.setup_s
        while time.monotonic() < deadline_s:
            time.sleep(0.01)
        if self.config.setup_fails:
            raise NodeError("cannot begin")

    def tick(self) -> float:
        wait_s = self.next_s - time.monotonic()
        if wait_s > 0:
            return wait_s
        self.next_s = time.monotonic() + 1 / self.config.rate_hz
        done = self.config.steps and self.count >= self.config.steps
        if done:
            self.finish(self.config.outcome, "all steps made")
            return 0.1
        self.count += 1
        if self.config.alarm and self.count == 2:
            self.alarm("test", self.config.alarm)
        getattr(self, f"tick_{self.wiring.kind}")()
        self._misbehave()
        if self.config.fail_after and self.count == self.config.fail_after:
            raise NodeError("broken on purpose", self.config.exit_code)
        return 1 / self.config.rate_hz

    def _misbehave(self) -> None:
        for number in range(self.config.flood if self.count == 2 else 0):
            self.log.info("line %d", number)
        if self.count == 2 and self.config.break_thread:
            threading.Thread(target=lambda: [][1], name="helper").start()
        if self.config.hang_after == self.count and self._first_time():
            where_it_hangs()
        if self.config.segfault_after == self.count and self._first_time():
            self.log.warning("about to read what is not there")
            ctypes.string_at(0)

    def _first_time(self) -> bool:
        """Whether no earlier process of this node has come here."""
        mark = self.run_dir / "logs" / f"{self.name}.again"
        found = mark.exists()
        mark.touch()
        return not found

    def close(self) -> None:
        if self.config.ignore_stop:
            time.sleep(600)

    def tick_robot(self) -> None:
        if self.count == 1:
            self.publish("episode", EpisodeMark(mark="start"), episode=0, step=0)
        image = np.zeros((8, 8, 3), np.uint8)
        self.publish("frame", Frame(), {"image/top": image}, episode=0, step=self.count)
        now = time.time_ns()
        action: Action = {"action": 0.0}
        self.publish("action", ActionTaken(action=action, by="test", start_ns=now, end_ns=now), episode=0, step=self.count)
        self.metrics({"steps": self.count, "episodes": 1})

    def tick_predictor(self) -> None:
        self.publish("command", Command(action={"action": 1.0}, by="test", deadline_mono_ns=time.monotonic_ns()))
        self.publish("prediction", Prediction(candidates=[], weights_version=0, latency_ms=1.0))

    def tick_trainer(self) -> None:
        mark = {"mark_s": self.config.mark_s} if self.config.mark_s and self.count == 5 else {}
        self.metrics({"samples": self.count * 16, "steps": self.count, "samples_per_s": 160.0, **self.config.scores, **mark})
        self.publish(
            "weights", Weights(version=self.count, spec={}, spec_hash="", sha256="", steps=0, samples=0),
            {"safetensors": np.zeros(8, np.uint8)},
        )  # fmt: skip

    def tick_recorder(self) -> None:
        self.publish("committed", Committed(session="standin", last_seq={}, events=self.count, bytes=self.count))

    def tick_viewer(self) -> None:
        self.metrics({"fps": 1.0})

    def do_pause(self, args: dict[str, Any]) -> dict[str, Any]:
        self.bus.set_state("paused")
        return {}

    def do_resume(self, args: dict[str, Any]) -> dict[str, Any]:
        self.bus.set_state("running")
        return {}

    def on_frame(self, message: Message) -> None:
        """Taken."""


def where_it_hangs() -> None:
    time.sleep(600)


if __name__ == "__main__":
    if '"mute":true' in Path(sys.argv[1]).read_text().replace(" ", ""):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(600)
    main(StandIn, Config)
