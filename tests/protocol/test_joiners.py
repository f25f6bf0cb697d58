"""Subscribers that join a publisher which never pauses: from the moment when they are ready they miss nothing.

And buses that come and go leave nothing behind.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from protocol import messages as m
from protocol.bus import Bus

ROBOT = [("robot", "robot")]
JOINERS = {"rec": "recorder", "view": "viewer"}  # one takes frames by the reliable lane, one by the latest
IMAGE = np.zeros((2, 2, 3), np.uint8)


class Publisher:
    """Publishes frames without a pause; each `until` is a wait that goes on publishing."""

    def __init__(self, bus: Bus, wait: Callable[..., Any]) -> None:
        self.bus, self._wait, self.step = bus, wait, 0

    def frame(self) -> None:
        self.step += 1
        self.bus.publish("frame", m.Frame(), {"image/top": IMAGE}, episode=0, step=self.step)

    def until(self, condition: Callable[[], Any], what: str) -> None:
        def publish_and_look() -> Any:
            self.frame()
            self.bus.next(0)
            return condition()

        self._wait(publish_and_look, what)


def join(graph: Any, robot: Publisher, turn: int) -> None:
    joined = {name: Bus(graph.wiring(name, kind, inputs=ROBOT)) for name, kind in JOINERS.items()}
    for bus in joined.values():
        bus.start()
        bus.subscribe()
    robot.until(lambda: not robot.bus.status().missing, "both to be ready")
    robot.bus.publish("action", m.ActionTaken(action={"action": 0.0}, by="test", start_ns=0, end_ns=0), episode=0, step=turn)
    first_frame = robot.step + 1
    taken: dict[str, list[m.Message]] = {name: [] for name in joined}

    def all_is_there() -> bool:
        for name, bus in joined.items():
            while isinstance(thing := bus.next(0), m.Message):
                taken[name].append(thing)
        return all({"robot", "episode", "action"} <= {one.kind for one in found} for found in taken.values()) and all(
            any(one.kind == "frame" and (one.envelope.step or 0) >= first_frame for one in found) for found in taken.values()
        )

    robot.until(all_is_there, f"the first messages of turn {turn}")
    for name, found in taken.items():
        assert turn in [one.envelope.step for one in found if one.kind == "action"], name
    frames = [one.envelope.step for one in taken["rec"] if one.kind == "frame"]
    assert first_frame in frames
    assert frames == list(range(frames[0] or 0, (frames[-1] or 0) + 1)), "in order, without a hole"
    for bus in joined.values():
        for count in bus.status().counts.values():
            assert count.published == count.received + count.skipped + count.lost
        bus.abandon()
        bus.close(drain_s=0)
    robot.until(lambda: robot.bus.status().missing == sorted(JOINERS), "both to be gone")


@pytest.mark.parametrize("turns", [50, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_the_first_message_after_ready_always_comes(graph: Any, wait: Any, turns: int) -> None:
    # a small ring: a joiner gets what is still in it first
    bus = graph.bus("robot", "robot", subscribers=list(JOINERS.items()), ring_bytes=60_000, on_full="count")
    bus.publish("episode", m.EpisodeMark(mark="start"), episode=0)
    space = m.ActionSpaceInfo(names=["action"])
    bus.publish("robot", m.Robot(
        robot="robot", driver="d", params={}, cameras=[], actions=space, rate_hz=0.0, timing="paced", safe_action={},
    ))  # fmt: skip
    robot = Publisher(bus, wait)
    for turn in range(turns):
        join(graph, robot, turn)


@pytest.mark.parametrize("turns", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_starts_and_ends_leave_no_thread_and_no_file(graph: Any, ready: Any, turns: int) -> None:
    process = psutil.Process()

    def once() -> None:
        robot = Bus(graph.wiring("robot", "robot", subscribers=[("rec", "recorder")]))
        recorder = Bus(graph.wiring("rec", "recorder", inputs=ROBOT))
        robot.start()
        recorder.start()
        recorder.subscribe()
        ready(robot)
        robot.publish("frame", m.Frame(), {"image/top": IMAGE}, episode=0, step=0)
        recorder.close(drain_s=0)
        robot.close(drain_s=0)

    once()
    files, threads = process.num_fds(), set(threading.enumerate())
    for _ in range(turns):
        once()
    assert process.num_fds() <= files
    assert set(threading.enumerate()) <= threads
    assert len(list(Path(graph.folder).iterdir())) == 6, "one file per endpoint; the launcher removes their folder"
