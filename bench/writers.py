"""All writers of frames that are measured side by side, and whether what they wrote is found again."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bench.frame_writer import Bare, FrameWriter, Picture, Toddle, ToddleBy30, ToddleDelta, ToddleEach, ToddleZstd
from bench.other_writers import Lerobot, LerobotVideo, Mcap, McapZstd, Rerun, Rosbags, RosbagsSqlite, RosbagsZstd

WRITERS: dict[str, type[FrameWriter]] = {
    "bare file": Bare, "toddle raw": Toddle, "mcap none": Mcap, "rosbags mcap": Rosbags, "rosbags sqlite3": RosbagsSqlite,
    "toddle zstd": ToddleZstd, "mcap zstd": McapZstd, "rosbags mcap zstd": RosbagsZstd, "rerun": Rerun,
    "toddle delta-zstd": ToddleDelta, "lerobot png": Lerobot, "lerobot video": LerobotVideo,
    "toddle raw, each 30": ToddleBy30, "toddle raw, each one": ToddleEach,
}  # fmt: skip
COMMITS = "toddle raw, each 30", "toddle raw, each one"
"""Only for what a kill takes."""


def missing(name: str) -> str:
    """The packages that a writer needs and that are not installed."""
    return ", ".join(module for module in WRITERS[name].needs if importlib.util.find_spec(module) is None)


def found_again(name: str, path: Path, pictures: Picture) -> tuple[int, str]:
    """How many frames, from the first on, the format's own reader finds as they were written, and why it ended early."""
    count = 0
    rows: Iterable[tuple[int, Picture]] = WRITERS[name].read(path, pictures.shape[1:])
    try:
        for index, picture in rows:
            if index != count or not (WRITERS[name].lossy or np.array_equal(picture, pictures[index % len(pictures)])):
                return count, f"frame {index} is not what was written"
            count += 1
    except Exception as error:  # whatever a format's reader says of a file that was cut short
        return count, f"{type(error).__name__}: {error}".splitlines()[0].replace(str(path), "").strip(": ")[:120]
    return count, ""
