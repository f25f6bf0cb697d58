"""A recorded session to learn from, small enough to be learned in milliseconds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from protocol import messages as m
from storage.writer import SessionWriter

ROBOT = m.Robot(
    robot="robot", driver="d", params={}, cameras=[m.CameraInfo(name="top", height=16, width=16)],
    actions=m.ActionSpaceInfo(names=["action"], choices=[{"action": 0.0}, {"action": 1.0}]), rate_hz=10.0, timing="lockstep",
    safe_action={"action": 0.0},
)  # fmt: skip


@pytest.fixture
def record_walk() -> Callable[..., Path]:
    """A bright bar that action 1 moves to the right; each frame of an episode shows its step in the corner."""

    def record(path: Path, episodes: int = 4, steps: int = 12, held_out: tuple[int, ...] = ()) -> Path:
        rng = np.random.default_rng(0)
        at = 0
        with SessionWriter.create(path, robot=ROBOT) as writer:
            for episode in range(episodes):
                x = int(rng.integers(16))
                place = {"source": "robot", "run": "r", "episode": episode}
                mark = m.EpisodeMark(mark="start", held_out=episode in held_out)
                head = m.Envelope(topic="episode/robot", seq=episode, t_ns=at * 10**8, mono_ns=at * 10**8, step=0, **place)
                writer.append(m.Message(envelope=head, body=mark))
                for step in range(steps):
                    picture = np.zeros((16, 16, 3), np.uint8)
                    picture[4:12, x] = 255
                    picture[0, 0] = 10 * episode + step
                    action = int(rng.integers(2))
                    x = (x + 4 * action) % 16
                    times = {"seq": at, "t_ns": at * 10**8, "mono_ns": at * 10**8, "step": step, **place}
                    frame = m.Envelope(topic="frame/robot", **times)
                    writer.append(m.Message(envelope=frame, body=m.Frame(held_out=episode in held_out), arrays={"image/top": picture}))
                    body = m.ActionTaken(action={"action": float(action)}, by="x", start_ns=0, end_ns=0)
                    if step < steps - 1:
                        writer.append(m.Message(envelope=m.Envelope(topic="action/robot", **times), body=body))
                    at += 1
        return path

    return record
