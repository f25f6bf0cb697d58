"""Lossless codecs of frames: CPU time to write and to read one, and how much smaller it gets."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nodes.robot.dot import ToroidalDot
from storage.arrays import ArrayCodec, codecs_for

CODECS = ("raw", "zstd", "delta-zstd")
REPEATS = 5


def measure(data: Path, say: Callable[[str], None]) -> None:
    """A Markdown table; best of 5, all codecs in one run."""
    say("\n| frames | codec | write ms | read ms | times smaller |\n|---|---|---|---|---|")
    for name, frames in _frames(data).items():
        for codec in CODECS:
            write_s, read_s, ratio = _one(ArrayCodec(codecs_for(codec)), frames)
            say(f"| {name} | {codec} | {write_s * 1000:.2f} | {read_s * 1000:.2f} | {ratio:.2f} |")


def _frames(data: Path) -> dict[str, list[np.ndarray[Any, Any]]]:
    robot = ToroidalDot({}, seed=0)
    dots = []
    for _ in range(100):
        dots.append(robot.observe().images["top"])
        robot.reset()
    found = {"dot 224x224": dots}
    tub = data / "donkeycar_tub" / "images"
    if tub.is_dir():
        import cv2

        read = [cv2.imread(str(path)) for path in sorted(tub.glob("*.jpg"))[::10]]
        found["car 160x120"] = [np.ascontiguousarray(image[..., ::-1]) for image in read if image is not None]
    return found


def _one(codec: ArrayCodec, frames: list[np.ndarray[Any, Any]]) -> tuple[float, float, float]:
    """Seconds to encode and to decode a frame, and raw bytes over stored bytes."""
    best_write = best_read = float("inf")
    stored: list[tuple[int, Any]] = []
    for _ in range(REPEATS):
        start = time.process_time()
        stored = [codec.encode("frame", frame) for frame in frames]
        middle = time.process_time()
        raw = [codec.decode(number, memoryview(data), f.dtype, list(f.shape)) for (number, data), f in zip(stored, frames, strict=True)]
        best_read = min(best_read, time.process_time() - middle)
        best_write = min(best_write, middle - start)
        assert all(bytes(back) == frame.tobytes() for back, frame in zip(raw, frames, strict=True))
    size = sum(len(data) for _, data in stored)
    return best_write / len(frames), best_read / len(frames), sum(frame.nbytes for frame in frames) / size
