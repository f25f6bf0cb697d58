"""Messages and sessions for the tests of storage; helpers are fixtures, since tests are not importable."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocol import messages as m
from protocol.topics import TOPICS
from storage.writer import SessionWriter

Make = Callable[..., m.Message]
H, W = 24, 32


@pytest.fixture
def robot() -> m.Robot:
    return m.Robot(
        robot="robot", driver="toroidal_dot", params={"size": 24}, cameras=[m.CameraInfo(name="front", height=H, width=W)],
        actions=m.ActionSpaceInfo(names=["dx"], choices=[{"dx": 0.0}, {"dx": 1.0}]), rate_hz=10.0, timing="paced",
        safe_action={"dx": 0.0},
    )  # fmt: skip


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    """Noise that is the same for the same number: what was stored can be told from anything else."""

    def make(number: int, height: int = H, width: int = W) -> np.ndarray:
        return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)

    return make


@pytest.fixture
def make() -> Make:
    """A message of a topic; times follow `seq` at 10 Hz."""

    def message(topic: str, seq: int, body: m.Body, arrays: dict[str, np.ndarray] | None = None, **fields: Any) -> m.Message:
        fields = {"run": "run-1", "t_ns": 10**18 + seq * 10**8, "mono_ns": seq * 10**8, **fields}
        envelope = m.Envelope(topic=topic, source=topic.partition("/")[2], seq=seq, **fields)
        return m.Message(envelope=envelope, body=body, arrays=arrays or {})

    return message


@pytest.fixture
def frame(make: Make, pixels: Callable[..., np.ndarray]) -> Make:
    """Frame `seq` of the robot, in episodes of ten steps, with the pixels of its number."""

    def message(seq: int, **fields: Any) -> m.Message:
        fields = {"episode": seq // 10, "step": seq % 10, **fields}
        size = fields.pop("size", (H, W))
        return make("frame/robot", seq, m.Frame(), {"image/front": pixels(seq, *size)}, **fields)

    return message


@pytest.fixture
def action(make: Make) -> Make:
    def message(seq: int, **fields: Any) -> m.Message:
        body = m.ActionTaken(action={"dx": float(seq % 2)}, by="random", start_ns=seq, end_ns=seq + 1)
        return make("action/robot", seq, body, episode=seq // 10, step=seq % 10, **fields)

    return message


@pytest.fixture
def session(tmp_path: Path, robot: m.Robot, make: Make, frame: Make, action: Make) -> Path:
    """A closed session: the robot's message, then 3 episodes of 10 frames and actions each."""
    path = tmp_path / "walk"
    with SessionWriter.create(path) as writer:
        writer.append(make("robot/robot", 0, robot))
        for seq in range(30):
            writer.append(frame(seq))
            writer.append(action(seq))
    return path


@pytest.fixture
def same() -> Callable[[m.Message, m.Message], bool]:
    """Whether two messages are the same, bit for bit."""

    def compare(a: m.Message, b: m.Message) -> bool:
        if (a.envelope, a.body, list(a.arrays)) != (b.envelope, b.body, list(b.arrays)):
            return False
        return all(
            x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
            for x, y in zip(a.arrays.values(), b.arrays.values(), strict=True)
        )

    return compare


@pytest.fixture
def one_of_each(robot: m.Robot, make: Make, pixels: Callable[..., np.ndarray]) -> list[m.Message]:
    """A message of every topic that is recorded, with arrays where the topic has them."""
    rng = np.random.default_rng(7)
    frames = {
        "image/front": pixels(1), "image/wrist": pixels(2)[::2, ::2], "state": np.array([np.pi, np.nan, -0.0], np.float32),
        "depth/front": rng.integers(0, 65535, (H, W), dtype=np.uint16),
    }  # fmt: skip
    stacks = {
        "history/front": np.stack([[pixels(3), pixels(4)]] * 2), "past_actions": np.ones((2, 1, 1), np.float32),
        "candidates": np.zeros((2, 1), np.float32), "next/front": np.stack([[pixels(5), pixels(6)]] * 2),
        "position": rng.random((2, 2, 2), dtype=np.float32),
    }  # fmt: skip
    body: dict[str, tuple[m.Body, dict[str, np.ndarray]]] = {
        "robot": (robot, {}),
        "episode": (m.EpisodeMark(mark="start", reason="é", origin_episode=3), {}),
        "frame": (m.Frame(held_out=True), frames),
        "action": (m.ActionTaken(action={"dx": 0.1}, by="random", start_ns=1, end_ns=2, safe=True), {}),
        "probe": (m.Probe(description="dots"), stacks),
        "command": (m.Command(action={"dx": 1.0}, by="person", deadline_mono_ns=2**60), {}),
        "prediction": (m.Prediction(candidates=[{"dx": 0.0}], weights_version=4, latency_ms=1.5), {"next/front": pixels(8)[None]}),
        "weights": (
            m.Weights(version=1, spec={"a": [1]}, spec_hash="x", sha256="y", steps=5, samples=6),
            {"safetensors": rng.integers(0, 256, 5000, dtype=np.uint8)},
        ),
        "release": (m.Release(loss=0.1, steps=3), {}),
        "metrics": (m.Metrics(values={"loss": 0.1}), {}),
        "status": (m.Status(state="running", kind="robot", last_seq={"frame/robot": 3}), {}),
        "log": (m.LogRecord(level="INFO", logger="x", text="y"), {}),
        "control": (m.Control(command="pause", args={"a": 1}, by="viewer"), {}),
        "alarm": (m.Alarm(name="disk_low", text="z"), {}),
    }  # fmt: skip
    assert set(body) == {kind for kind, topic in TOPICS.items() if topic.recorded}
    return [make(f"{kind}/node", 0, *parts, episode=1, step=2, session="walk") for kind, parts in body.items()]


@pytest.fixture(scope="session")
def tub(recordings: Path) -> Path:
    """The recorded Donkeycar tub; tests that need it are skipped where it is not."""
    return recordings / "donkeycar_tub"


class FakeClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 0

    def wall_ns(self) -> int:
        return self.now_ns

    def mono_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def drive(tmp_path: Path, robot: m.Robot, make: Make, frame: Make, action: Make, pixels: Callable[..., np.ndarray]) -> Path:
    """A session as a run leaves one, in several segments: 4 episodes of 10 steps with marks, predictions that come late,
    heartbeats between, a probe; frames 13 and 14 were lost, and heartbeat 3; how the heartbeats ended is not known.
    """
    path = tmp_path / "drive"
    probe = {"candidates": np.zeros((2, 1), np.float32), "next/front": np.stack([[pixels(900), pixels(901)]] * 2)}
    with SessionWriter.create(path, map_bytes=200_000, commit_events=10, source={"kind": "test"}) as writer:
        writer.append(make("robot/robot", 0, robot))
        writer.append(make("probe/robot", 0, m.Probe(description="dots"), probe))
        for seq in range(40):
            place = {"episode": seq // 10, "step": seq % 10, "t_ns": 10**18 + seq * 10**8, "mono_ns": seq * 10**8}
            if seq % 10 == 0:
                writer.append(make("episode/robot", 2 * (seq // 10), m.EpisodeMark(mark="start"), **place))
            if seq not in (13, 14):
                writer.append(frame(seq))
            if seq % 10:  # the prediction of the frame before
                late = {**place, "step": seq % 10 - 1}
                body = m.Prediction(candidates=[{"dx": 0.0}], weights_version=1, latency_ms=1.0)
                writer.append(make("prediction/predictor", seq - 1 - seq // 10, body, run="run-2", **late))
            writer.append(action(seq))
            if seq % 5 == 4 and seq != 19:
                status = m.Status(state="running", kind="robot")
                writer.append(make("status/robot", seq // 5, status, t_ns=place["t_ns"], mono_ns=place["mono_ns"]))
            if seq % 10 == 9:
                writer.append(make("episode/robot", 2 * (seq // 10) + 1, m.EpisodeMark(mark="end"), **place))
        writer.note_gap(m.Gap(topic="frame/robot", run="run-1", first=13, last=14))
        writer.note_tail(m.Tail(topic="status/robot", run="run-1", last=7, told=7))
    assert len(list((path / "segments").iterdir())) > 1
    return path
