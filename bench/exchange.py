"""Import of LeRobot datasets beside bare PyAV decoding plus the session's own codec, and whether its memory is flat.

Bare is what cannot be saved: decode every frame of the same files with PyAV as it comes, turn it to RGB, encode it
with the session's codec. Both take turns, so that neighbours saw the same machine.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from storage.arrays import DEFAULT_CODEC, ArrayCodec, codecs_for
from storage.exchange.lerobot.importing import import_lerobot
from storage.exchange.lerobot.video import pyav

DATASETS = ("g1_bottle_v30", "g1_bottle_v30_2cam")
LEAST_SPEED = 0.8
MOST_GROWTH_MB = 30.0
"""Memory of its own, not the maps of the session, that an import may gain after its first tenth."""
LONG_HEIGHT, LONG_WIDTH, LONG_EPISODE = 48, 64, 500


def bare(dataset: Path) -> float:
    """Seconds for all frames of all videos."""
    av, codec = pyav(), ArrayCodec(codecs_for(DEFAULT_CODEC))
    begun = time.perf_counter()
    for file in sorted(dataset.glob("videos/*/*/*.mp4")):
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                codec.encode("frame", frame.to_ndarray(format="rgb24"))
    return time.perf_counter() - begun


def imported(dataset: Path, folder: Path) -> tuple[float, int]:
    """Seconds and frames of an import."""
    shutil.rmtree(folder / "s", ignore_errors=True)
    begun = time.perf_counter()
    report = import_lerobot(dataset, folder / "s")
    return time.perf_counter() - begun, report.frames


def speed(dataset: Path, rounds: int, folder: Path) -> dict[str, Any]:
    imported(dataset, folder)  # modules, caches
    turns = [(bare(dataset), imported(dataset, folder)) for _ in range(rounds)]
    frames = turns[0][1][1]
    return {
        "frames": frames, "bare_hz": frames / statistics.median(bare_s for bare_s, _ in turns),
        "import_hz": frames / statistics.median(import_s for _, (import_s, _) in turns),
        "ratio": statistics.median(bare_s / import_s for bare_s, (import_s, _) in turns),
    }  # fmt: skip


def memory(frames: int, folder: Path) -> dict[str, Any]:
    """Memory of this process while a long dataset comes in: MB after a tenth, and the most after that."""
    dataset = long_dataset(folder / "long", frames)
    own_mb: list[float] = []

    def tell(done: int, total: int) -> None:
        if done % 500 == 0:
            info = psutil.Process().memory_info()
            own_mb.append((info.rss - info.shared) / 1e6)

    begun = time.perf_counter()
    import_lerobot(dataset, folder / "long-session", tell=tell)
    seconds = time.perf_counter() - begun
    early = max(own_mb[: len(own_mb) // 10])
    return {"frames": frames, "seconds": seconds, "early_mb": early, "most_mb": max(own_mb), "growth_mb": max(own_mb) - early}


def long_dataset(root: Path, frames: int) -> Path:
    """A dataset of many small frames, in one video and one data file, made without lerobot: its writer takes hours for it."""
    import pandas as pd

    key, names = "observation.images.top", ["height", "width", "channels"]
    numbers = {
        "timestamp": ("float32", 1), "frame_index": ("int64", 1), "episode_index": ("int64", 1), "index": ("int64", 1),
        "task_index": ("int64", 1), "action": ("float32", 26), "observation.state": ("float32", 26),
    }  # fmt: skip
    features: dict[str, Any] = {name: {"dtype": dtype, "shape": [width], "names": None} for name, (dtype, width) in numbers.items()}
    features[key] = {"dtype": "video", "shape": [LONG_HEIGHT, LONG_WIDTH, 3], "names": names, "info": {"video.codec": "mpeg4"}}
    episodes = frames // LONG_EPISODE
    info = {
        "codebase_version": "v3.0", "fps": 30, "features": features, "total_episodes": episodes, "total_frames": frames, "total_tasks": 1,
        "chunks_size": 1000, "data_files_size_in_mb": 100, "video_files_size_in_mb": 200, "robot_type": "long",
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }  # fmt: skip
    for part in ("meta/episodes/chunk-000", "data/chunk-000", f"videos/{key}/chunk-000"):
        (root / part).mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    pd.DataFrame({"task_index": [0]}, index=["go"]).to_parquet(root / "meta/tasks.parquet")
    number = np.arange(episodes)
    rows: dict[str, Any] = {"episode_index": number, "length": LONG_EPISODE, "tasks": [["go"]] * episodes}
    rows |= {"dataset_from_index": number * LONG_EPISODE, "dataset_to_index": (number + 1) * LONG_EPISODE}
    for prefix in ("data", f"videos/{key}"):
        rows |= {f"{prefix}/chunk_index": 0, f"{prefix}/file_index": 0}
    rows |= {f"videos/{key}/from_timestamp": number * LONG_EPISODE / 30, f"videos/{key}/to_timestamp": (number + 1) * LONG_EPISODE / 30}
    pd.DataFrame(rows).to_parquet(root / "meta/episodes/chunk-000/file-000.parquet")
    place = np.arange(frames)
    step = place % LONG_EPISODE
    values = list(np.random.default_rng(1).normal(size=(frames, 26)).astype(np.float32))
    data = {"action": values, "observation.state": values, "timestamp": (step / 30).astype(np.float32), "frame_index": step}
    data |= {"episode_index": place // LONG_EPISODE, "index": place, "task_index": 0}
    pd.DataFrame(data).to_parquet(root / "data/chunk-000/file-000.parquet")
    _long_video(root / f"videos/{key}/chunk-000/file-000.mp4", frames)
    return root


def _long_video(file: Path, frames: int) -> None:
    av = pyav()
    picture = np.random.default_rng(2).integers(0, 256, (LONG_HEIGHT, LONG_WIDTH, 3), dtype=np.uint8)
    with av.open(str(file), "w") as out:
        stream = out.add_stream("mpeg4", 30)
        stream.width, stream.height, stream.pix_fmt = LONG_WIDTH, LONG_HEIGHT, "yuv420p"
        for number in range(frames):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(picture, number, axis=1), format="rgb24")))
        out.mux(stream.encode())


def bench(say: Callable[[str], None], results: Path, recordings: Path, rounds: int, frames: int) -> bool:
    """Both tables; whether every target was reached."""
    found: dict[str, Any] = {}
    results.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=results) as folder:
        say("\n| import of LeRobot v3.0 | frames | bare frames/s | import frames/s | import to bare, median of neighbours |")
        say("|---|---|---|---|---|")
        for name in DATASETS:
            found[name] = row = speed(recordings / name, rounds, Path(folder))
            say(f"| {name} | {row['frames']} | {row['bare_hz']:.0f} | {row['import_hz']:.0f} | {row['ratio']:.2f} |")
        say("\n| memory of a long import | frames | seconds | MB after a tenth | most MB after that |\n|---|---|---|---|---|")
        found["memory"] = row = memory(frames, Path(folder))
        say(f"| 64x48, 26 actions, 26 states | {frames} | {row['seconds']:.0f} | {row['early_mb']:.0f} | {row['most_mb']:.0f} |")
    (results / "exchange.json").write_text(json.dumps(found, indent=1))
    misses = [
        f"{name}: {found[name]['ratio']:.2f} of bare, at least {LEAST_SPEED}" for name in DATASETS if found[name]["ratio"] < LEAST_SPEED
    ]
    if found["memory"]["growth_mb"] > MOST_GROWTH_MB:
        misses.append(f"memory grew by {found['memory']['growth_mb']:.0f} MB, at most {MOST_GROWTH_MB:g} was asked for")
    say("\n" + "\n".join(f"- MISSED: {miss}" for miss in misses) if misses else "\n- every target reached")
    return not misses
