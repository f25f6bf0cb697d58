"""Processes that are really killed: a restarted subscriber has everything, a restarted publisher is a new run."""

import signal
from pathlib import Path
from typing import Any

import pytest

from protocol import messages as m

ROBOT, RECORDER = [("robot", "robot")], [("rec", "recorder")]


def lines(path: Path) -> list[int]:
    return [int(line.split()[1]) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


@pytest.mark.parametrize("ring_bytes", [64 << 20, 100_000])
def test_a_killed_subscriber_comes_back_and_has_everything(graph: Any, wait: Any, ring_bytes: int) -> None:
    """Also with a ring smaller than what is on its way: what was not handled is held back."""
    path = graph.folder / "taken"
    graph.process("robot", "robot", "publish", "1500", subscribers=RECORDER, ring_bytes=ring_bytes)
    killed = graph.process("rec", "recorder", "take", str(path), inputs=ROBOT)
    for part in (200, 600):
        wait(lambda part=part: len(lines(path)) > part)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(30) == -signal.SIGKILL
        assert len(lines(path)) < 1500
        killed = graph.process("rec", "recorder", "take", str(path), inputs=ROBOT)
    wait(lambda: len(lines(path)) >= 1500)
    assert lines(path) == list(range(1500))


def test_a_restarted_publisher_is_a_new_run_and_the_books_are_right(graph: Any, wait: Any, take: Any) -> None:
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    killed = graph.process("robot", "robot", "publish", "1000000", subscribers=RECORDER)
    first = take(recorder, "frame", 300)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    graph.process("robot", "robot", "publish", "20", subscribers=RECORDER)
    run = first[0].envelope.run
    rest = take(recorder, "frame", until=lambda found: sum(one.envelope.run != run for one in found) >= 20)
    old = [one.envelope.seq for one in [*first, *rest] if one.envelope.run == run]
    new = [one for one in rest if one.envelope.run != run]
    assert old == list(range(len(old)))
    assert [one.envelope.seq for one in new] == list(range(20))
    assert len({one.envelope.run for one in new}) == 1
    count = recorder.status().counts["frame/robot"]
    assert count.published == count.received + count.skipped + count.lost
    assert count.received == len(old) + 20
    assert not count.end_known
    for gap in recorder.gaps():  # only a tail of the killed run that its heartbeats had told of
        assert gap.run == run
        if gap.topic == "frame/robot":
            assert gap.first == len(old)


def test_a_stopped_subscriber_stalls_nobody_else(graph: Any, wait: Any, take: Any) -> None:
    """SIGSTOP one reliable subscriber under `count`: the robot goes on, the other gets everything."""
    robot = graph.bus("robot", "robot", subscribers=[*RECORDER, ("stalled", "trainer")], ring_bytes=200_000, on_full="count")
    recorder = graph.bus("rec", "recorder", inputs=ROBOT)
    path = graph.folder / "taken"
    stalled = graph.process("stalled", "trainer", "take", str(path), inputs=ROBOT)
    wait(lambda: not robot.status().missing)
    stalled.send_signal(signal.SIGSTOP)
    import numpy as np

    for step in range(300):
        robot.publish("frame", m.Frame(), {"image/top": np.zeros((20, 20, 3), np.uint8)}, episode=0, step=step)
        assert take(recorder, "frame")[0].envelope.step == step
    assert recorder.status().counts["frame/robot"].lost == 0
    stalled.send_signal(signal.SIGCONT)
    robot.publish("frame", m.Frame(), {"image/top": np.zeros((20, 20, 3), np.uint8)}, episode=0, step=300)
    wait(lambda: lines(path) and lines(path)[-1] == 300)
