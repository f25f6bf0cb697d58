"""Cameras of the emulated arm, as lerobot's own ZMQCamera sees them."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emulators.errors import EmulatorError
from emulators.so101 import SO101Emulator

pytest.importorskip("lerobot", reason="needs the extra so101")
import cv2
from lerobot.cameras.zmq import ZMQCamera, ZMQCameraConfig

Wait = Callable[..., Any]
COLOURS = ((220, 20, 20), (20, 20, 220), (20, 160, 20))  # RGB
PATIENCE_MS = 30_000


@contextmanager
def camera(arm: SO101Emulator, name: str) -> Iterator[ZMQCamera]:
    """lerobot's own, connected."""
    options = {key: value for key, value in arm.cameras[name].items() if key != "type"}
    made = ZMQCamera(ZMQCameraConfig(**options, timeout_ms=PATIENCE_MS))
    made.connect(warmup=False)
    yield made
    with suppress(Exception):
        made.disconnect()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Three pictures in three colours, 20 a second."""
    path = tmp_path / "colours.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 48))
    for colour in COLOURS:
        writer.write(np.full((48, 64, 3), colour[::-1], np.uint8))
    writer.release()
    return path


def which(image: np.ndarray) -> int:
    """The colour that a picture has."""
    far = [abs(image.reshape(-1, 3).mean(axis=0) - colour).max() for colour in COLOURS]
    assert min(far) < 20
    return int(np.argmin(far))


def test_the_arm_moves_in_the_picture_and_red_is_red(wait: Wait) -> None:
    with SO101Emulator(cameras={"front": "drawn"}, size=(96, 80), fps=100) as arm, camera(arm, "front") as seen:
        before = seen.async_read(PATIENCE_MS)
        assert before.shape == (80, 96, 3)
        red, blue = ((before[..., one] > 150) & (before[..., other] < 90) for one, other in ((0, 2), (2, 0)))
        assert red.sum() > 10 and blue.sum() > 10
        highest = {colour: np.nonzero(mask)[0].min() for colour, mask in (("red", red), ("blue", blue))}
        assert highest["red"] < highest["blue"]  # the jaw is red, the shoulder below it is blue
        arm.place("shoulder_pan", 1000)
        wait(lambda: (abs(seen.async_read(PATIENCE_MS).astype(int) - before) > 90).sum() > 100, "the arm is seen elsewhere")


def test_a_video_is_played_in_a_loop_in_its_colours(video: Path, wait: Wait) -> None:
    with SO101Emulator(cameras={"side": str(video)}) as arm, camera(arm, "side") as seen:
        assert (arm.cameras["side"]["fps"], arm.cameras["side"]["width"], arm.cameras["side"]["height"]) == (20, 64, 48)
        shown: list[int] = []

        def looped() -> bool:
            shown.append(which(seen.async_read(PATIENCE_MS)))
            return all(shown.count(colour) >= 3 for colour in range(len(COLOURS)))

        wait(looped, "each colour came again")


def test_a_recording_of_lerobot_is_played(recordings: Path) -> None:
    path = next(recordings.glob("g1_bottle_v21/videos/**/*.mp4"))  # AV1, which OpenCV's wheel cannot read
    with SO101Emulator(cameras={"side": str(path)}) as arm, camera(arm, "side") as seen:
        assert seen.async_read(PATIENCE_MS).shape == (480, 640, 3) and arm.cameras["side"]["fps"] == 30


def test_a_camera_that_is_frozen_or_gone(video: Path, wait: Wait) -> None:
    with SO101Emulator(cameras={"a": str(video), "b": "drawn"}, fps=60) as arm, camera(arm, "a") as a, camera(arm, "b") as b:
        first, other = a.async_read(PATIENCE_MS), b.async_read(PATIENCE_MS)
        assert first.shape != other.shape  # each has its own port
        arm.fault("camera-frozen", camera="a")
        wait(lambda: len({a.async_read(PATIENCE_MS).tobytes() for _ in range(5)}) == 1, "five times the same")
        frozen = a.async_read(PATIENCE_MS)
        wait(lambda: not np.array_equal(b.async_read(PATIENCE_MS), other), "the other goes on")
        arm.fault("camera-gone")

        def silent() -> bool:
            with suppress(TimeoutError):
                a.read_latest(max_age_ms=300)
                return False
            return True

        wait(silent, "nothing comes")
        arm.heal()
        wait(lambda: which(a.async_read(PATIENCE_MS)) != which(frozen), "it goes on")


def test_what_cannot_be_a_camera(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    for source, word in ((str(text), "notes.mp4 is not a video"), ("nowhere.mp4", "nowhere.mp4 is not there")):
        with pytest.raises(EmulatorError, match=word):
            SO101Emulator(cameras={"front": source})


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmulatorError, match=f"camera front cannot have port {port}: Address already in use"):
            SO101Emulator(cameras={"front": "drawn"}, camera_port=port)
