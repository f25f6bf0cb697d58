"""How frames are stored: CPU time to write and to read one, how much smaller it gets, and what is lost.

`left-delta` is what `delta-zstd` once was: differences along rows, not along columns.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

from bench.recordings import CAMERA_SIZE, SENSOR_NOISE, camera_frames
from nodes.robot.dot import ToroidalDot
from storage.arrays import CODEC_IDS, LEFT_DELTA, ArrayCodec, codecs_for

CODECS = ("raw", "zstd", "left-delta", "delta-zstd", "jpeg")
SIZES = ((224, 224), (448, 224), (640, 480), (1280, 720))
FRAMES, EVERY, REPEATS = 24, 40, 5
Frame = np.ndarray[Any, np.dtype[np.uint8]]


def measure(data: Path, say: Callable[[str], None]) -> None:
    """A Markdown table; best of 5, all codecs in one run."""
    say("\n| frames | codec | write ms | read ms | times smaller | PSNR dB |\n|---|---|---|---|---|---|")
    for name, frames in _frames(data).items():
        for codec in CODECS:
            write_s, read_s, ratio, psnr = _one(codec, frames)
            lost = "-" if np.isinf(psnr) else f"{psnr:.1f}"
            say(f"| {name} | {codec} | {write_s * 1000:.2f} | {read_s * 1000:.2f} | {ratio:.2f} | {lost} |")


def _frames(data: Path) -> dict[str, list[Frame]]:
    robot = ToroidalDot({}, seed=0)
    dots = []
    for _ in range(100):
        dots.append(robot.observe().images["top"])
        robot.reset()
    found = {"dot 224x224": dots}
    if not data.is_dir():
        return found
    import cv2

    read = [cv2.imread(str(path)) for path in sorted((data / "donkeycar_tub" / "images").glob("*.jpg"))[::10]]
    found["car 160x120"] = [np.ascontiguousarray(image[..., ::-1]) for image in read if image is not None]
    for size in SIZES:
        name = f"head camera {size[0]}x{size[1]}" + ("" if size == CAMERA_SIZE else ", resized")
        found[name] = camera_frames(data, FRAMES, size, EVERY)
        found[f"{name}, noise added"] = camera_frames(data, FRAMES, size, EVERY, SENSOR_NOISE)
    return found


def _one(name: str, frames: list[Frame]) -> tuple[float, float, float, float]:
    """Seconds to encode and to decode a frame, raw bytes over stored bytes, PSNR."""
    codec = ArrayCodec(codecs_for("zstd" if name == "left-delta" else name))
    compressor = zstandard.ZstdCompressor(level=1)
    best_write = best_read = float("inf")
    stored: list[tuple[int, Any]] = []
    back = [np.zeros_like(frame) for frame in frames]
    for _ in range(REPEATS):
        start = time.process_time()
        if name == "left-delta":
            stored = [(LEFT_DELTA, compressor.compress(_left_delta(frame).data)) for frame in frames]
        else:
            stored = [codec.encode("frame", frame) for frame in frames]
        middle = time.process_time()
        for (number, data), slot in zip(stored, back, strict=True):
            codec.decode_into(number, memoryview(data), slot)
        best_read = min(best_read, time.process_time() - middle)
        best_write = min(best_write, middle - start)
    size = sum(len(data) for _, data in stored)
    lossy = any(number == CODEC_IDS["jpeg"] for number, _ in stored)
    assert lossy or all(np.array_equal(slot, frame) for slot, frame in zip(back, frames, strict=True))
    return best_write / len(frames), best_read / len(frames), sum(frame.nbytes for frame in frames) / size, _psnr(frames, back)


def _left_delta(frame: Frame) -> Frame:
    out = frame.copy()
    np.subtract(frame[:, 1:], frame[:, :-1], out=out[:, 1:])
    return out


def _psnr(frames: list[Frame], back: list[Frame]) -> float:
    error = np.mean([np.mean((frame.astype(np.float32) - slot) ** 2) for frame, slot in zip(frames, back, strict=True)])
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
