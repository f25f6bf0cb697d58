"""Who stands beside the loader: LeRobotDataset and MCAP, the same frames, each as it writes them itself."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import zstandard

from bench.recordings import CAMERA, EPISODE_STEPS, RATE_HZ, UInt8Array
from storage.exchange.lerobot.encoding import Encoding

KEY = f"observation.images.{CAMERA}"
HEADER_BYTES = 64  # before the pixels of an MCAP message: time and place


def missing() -> list[str]:
    """Which of the packages are not installed."""
    return [name for name in ("lerobot", "mcap", "av", "cv2") if importlib.util.find_spec(name) is None]


def lerobot_dataset(folder: Path, frames: Sequence[UInt8Array], videos: bool) -> Any:
    """A LeRobotDataset with its own defaults, as video or as images in parquet, opened for reading as uint8."""
    os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=str(folder.parent / "hf"), SVT_LOG="1")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    features = {
        KEY: {"dtype": "video" if videos else "image", "shape": frames[0].shape, "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": (2,), "names": ["x", "y"]},
    }
    dataset = LeRobotDataset.create("local/bench", fps=RATE_HZ, features=features, root=folder, use_videos=videos)
    with Encoding() as encoding:
        for start in range(0, len(frames), EPISODE_STEPS):
            for frame in frames[start : start + EPISODE_STEPS]:
                dataset.add_frame({KEY: frame, "action": np.zeros(2, np.float32), "task": "bench"})
            encoding(dataset.save_episode)
        encoding(dataset.finalize)
    return LeRobotDataset("local/bench", root=folder, return_uint8=True)


def read_lerobot(dataset: Any, picks: np.ndarray) -> Any:
    """One batch, as torch stacks it."""
    import torch

    return torch.stack([dataset[index][KEY] for index in picks.tolist()])


def write_mcap(path: Path, frames: Sequence[UInt8Array], compressed: bool) -> Path:
    """With MCAP's own chunks; zstd at the level that we use, which reads faster than its own."""
    from mcap.writer import CompressionType, Writer

    level = zstandard.ZstdCompressor(level=1)
    with path.open("wb") as file, patch("mcap.writer.zstandard", level):
        writer = Writer(file, compression=CompressionType.ZSTD if compressed else CompressionType.NONE)
        writer.start()
        channel = writer.register_channel("frame/robot", "raw", 0)
        for number, frame in enumerate(frames):
            at_ns = number * 10**9 // RATE_HZ
            writer.add_message(channel, at_ns, bytes(HEADER_BYTES) + frame.tobytes(), at_ns, number)
        writer.finish()
        file.flush()
        os.fsync(file.fileno())
    return path


def read_mcap(path: Path, batch: UInt8Array, checked: bool) -> Iterator[int]:
    """All frames in order, into the slots of `batch` in turn; how many after each. `checked`: its checksums are compared, as ours are."""
    from mcap.reader import make_reader

    with path.open("rb") as file:
        for number, (_, _, message) in enumerate(make_reader(file, validate_crcs=checked).iter_messages(log_time_order=False)):
            slot = batch[number % len(batch)]
            np.copyto(slot, np.frombuffer(message.data, np.uint8, offset=HEADER_BYTES).reshape(slot.shape))
            yield number + 1
