"""Real frames for benchmarks, and sessions made of them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from protocol import messages as m
from storage.writer import SessionWriter

UInt8Array = NDArray[np.uint8]
VIDEO = "g1_bottle_v30/videos/observation.images.cam_high/chunk-000/file-000.mp4"
CAMERA, EPISODE_STEPS, RATE_HZ = "front", 100, 30
CAMERA_SIZE = (640, 480)
"""Width and height as recorded; other sizes are made from it."""
SENSOR_NOISE = 2.0
"""Standard deviation: the recording was a lossy video, which takes away what a sensor adds."""


def camera_frames(data: Path, count: int, size: tuple[int, int], every: int = 1, noise: float = 0.0) -> list[UInt8Array]:
    """Frames uint8 [H, W, 3] of a robot's head camera, resized to `size` (W, H); `noise`: of a sensor, added."""
    import av

    rng = np.random.default_rng(0)
    frames: list[UInt8Array] = []
    with av.open(str(data / VIDEO)) as video:
        for number, picture in enumerate(video.decode(video=0)):
            if number % every == 0:
                image = picture.to_ndarray(format="rgb24")
                shrinks = size[0] < CAMERA_SIZE[0]
                image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
                if noise:
                    image = np.clip(image + rng.normal(0, noise, image.shape), 0, 255).round()
                frames.append(np.ascontiguousarray(image, np.uint8))
            if len(frames) == count:
                break
    return frames


def write_session(path: Path, frames: Sequence[UInt8Array], codec: str, actions: bool = True) -> Path:
    """A session of these frames, with an action after each if wanted, committed as the recorder does."""
    height, width, _ = frames[0].shape
    robot = m.Robot(
        robot="robot", driver="bench", params={}, cameras=[m.CameraInfo(name=CAMERA, height=height, width=width)],
        actions=m.ActionSpaceInfo(names=["x", "y"], low=[-1.0, -1.0], high=[1.0, 1.0]),
        rate_hz=RATE_HZ, timing="paced", safe_action={"x": 0.0, "y": 0.0},
    )  # fmt: skip
    with SessionWriter.create(path, robot=robot, codec=codec, commit_events=5000) as writer:
        writer.append(_message("robot", 0, robot))
        for number, frame in enumerate(frames):
            writer.append(_message("frame", number, m.Frame(), {f"image/{CAMERA}": frame}))
            if actions:
                action = {"x": float(np.sin(number)), "y": float(np.cos(number))}
                writer.append(_message("action", number, m.ActionTaken(action=action, by="random", start_ns=0, end_ns=1)))
    return path


def _message(kind: str, seq: int, body: m.Body, arrays: dict[str, UInt8Array] | None = None) -> m.Message:
    at_ns = seq * 10**9 // RATE_HZ
    place = {} if kind == "robot" else {"episode": seq // EPISODE_STEPS, "step": seq % EPISODE_STEPS}
    envelope = m.Envelope(topic=f"{kind}/robot", source="robot", run="bench", seq=seq, t_ns=10**18 + at_ns, mono_ns=at_ns, **place)
    return m.Message(envelope=envelope, body=body, arrays=arrays or {})
