"""Reading frames into batches of uint8: beside LeRobotDataset, MCAP, the codecs alone, and pread of what is not in memory.

All loops of a table live in one run and take turns; every ratio is of neighbouring turns.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from bench import read_cold, read_peers
from bench.recordings import CAMERA, UInt8Array, camera_frames, write_session
from storage.arrays import ArrayCodec, codecs_for
from storage.loading.frames import Frames
from storage.loading.prefetch import prefetched
from storage.paths import disk_bytes
from storage.reader import SessionReader

CODECS = ("raw", "zstd", "delta-zstd", "jpeg")
BATCH = 64
SIZES = ((448, 224), (640, 480), (1280, 720))
LEAST = {"lerobot": 5.0, "mcap raw": 2.0, "mcap zstd": 1.1, "codec": 0.65}
MOST = {"one by one": 3.5, "a batch": 2.0, "ahead": 2.0, "size": 1.1}
Rates = dict[str, list[float]]
Say = Callable[[str], None]


def turns(loops: dict[str, Callable[[np.random.Generator], int]], rounds: int) -> Rates:
    """Frames per second of each loop, turn by turn; the first turn of each only warms up."""
    found: Rates = {name: [] for name in loops}
    for number in range(rounds + 1):
        for name, loop in loops.items():
            rng = np.random.default_rng(number)
            start = time.perf_counter()
            frames = loop(rng)
            if number:
                found[name].append(frames / (time.perf_counter() - start))
    return found


def ratio(rates: Rates, one: str, other: str) -> float:
    """Of neighbouring turns, the median."""
    return statistics.median(a / b for a, b in zip(rates[one], rates[other], strict=True))


class Sessions:
    """The same frames as sessions of every codec, open."""

    def __init__(self, folder: Path, frames: Sequence[UInt8Array], codecs: Sequence[str] = CODECS) -> None:
        self.frames = {name: Frames([SessionReader(write_session(folder / name, frames, name))]) for name in codecs}
        self.room = [next(iter(self.frames.values())).empty(BATCH) for _ in range(3)]

    def random(self, codec: str, batches: int, ahead: bool) -> Callable[[np.random.Generator], int]:
        return lambda rng: self._read(codec, rng.integers(len(self.frames[codec]), size=(batches, BATCH)), ahead)

    def sequential(self, codec: str, ahead: bool) -> Callable[[np.random.Generator], int]:
        whole = len(self.frames[codec]) // BATCH * BATCH
        return lambda rng: self._read(codec, np.arange(whole).reshape(-1, BATCH), ahead)

    def _read(self, codec: str, orders: np.ndarray, ahead: bool) -> int:
        frames = self.frames[codec]
        if ahead:
            for _ in prefetched(frames.read, orders, self.room):
                pass
        else:
            for order in orders:
                frames.read(order, self.room[0])
        return int(orders.size)

    def close(self) -> None:
        for frames in self.frames.values():
            for reader in frames.sessions:
                reader.close()


def random_batches(sessions: Sessions, datasets: dict[str, Any], rounds: int) -> Rates:
    loops: dict[str, Callable[[np.random.Generator], int]] = {}
    for codec in sessions.frames:
        loops[codec] = sessions.random(codec, 4, ahead=False)
        loops[f"{codec}, ahead"] = sessions.random(codec, 8, ahead=True)
    for name, dataset in datasets.items():
        loops[name] = lambda rng, dataset=dataset: len(read_peers.read_lerobot(dataset, rng.integers(len(dataset), size=BATCH)))
    return turns(loops, rounds)


def in_order(sessions: Sessions, files: dict[str, Path], rounds: int) -> Rates:
    loops: dict[str, Callable[[np.random.Generator], int]] = {}
    for codec in ("raw", "zstd"):
        loops[codec] = sessions.sequential(codec, ahead=False)
        loops[f"{codec}, ahead"] = sessions.sequential(codec, ahead=True)
        loops[f"{codec}, unchecked"] = _unchecked(loops[codec])
        for name, checked in ((f"mcap {codec}", False), (f"mcap {codec}, checked", True)):
            loops[name] = lambda rng, file=files[codec], checked=checked: max(read_peers.read_mcap(file, sessions.room[0][CAMERA], checked))
    return turns(loops, rounds)


def _unchecked(loop: Callable[[np.random.Generator], int]) -> Callable[[np.random.Generator], int]:
    """What comparing checksums costs: the same without."""

    def run(rng: np.random.Generator) -> int:
        with patch("storage.loading.frames.check_record"):
            return loop(rng)

    return run


def codec_alone(sessions: Sessions, frames: Sequence[UInt8Array], rounds: int) -> Rates:
    """The loader beside the decoding of bytes that lie ready, one thread each."""
    loops: dict[str, Callable[[np.random.Generator], int]] = {}
    for name in sessions.frames:
        if name == "raw":
            continue
        codec = ArrayCodec(codecs_for(name))
        stored = [(number, memoryview(bytes(data))) for number, data in (codec.encode("frame", frame) for frame in frames)]

        def decode(rng: np.random.Generator, codec: ArrayCodec = codec, stored: list[tuple[int, memoryview]] = stored) -> int:
            picks = rng.integers(len(stored), size=(4, BATCH)).tolist()
            for batch in picks:
                for slot, pick in zip(sessions.room[0][CAMERA], batch, strict=True):
                    codec.decode_into(*stored[pick], slot)
            return 4 * BATCH

        loops[f"{name} alone"] = decode
        loops[name] = sessions.random(name, 4, ahead=False)
    return turns(loops, rounds)


def cold(folder: Path, frames: Sequence[UInt8Array], rounds: int) -> dict[str, list[dict[str, float]]]:
    raw = folder / "frames.raw"
    raw.write_bytes(b"".join(frame.tobytes() for frame in frames))
    session = write_session(folder / "cold", frames, "raw")
    found: dict[str, list[dict[str, float]]] = {way: [] for way in read_cold.WAYS}
    for seed in range(rounds):
        for way, told in found.items():
            told.append(read_cold.measure(raw, session, way, seed))
    return found


def sizes(data: Path, folder: Path, count: int, noise: float) -> Iterator[tuple[str, str, float]]:
    """(frames, codec, bytes on disk over the codec's bytes), of real frames."""
    for width, height in SIZES:
        frames = camera_frames(data, max(count * 448 * 224 // (width * height), 32), (width, height), noise=noise)
        for name in CODECS:
            codec = ArrayCodec(codecs_for(name))
            alone = sum(len(codec.encode("frame", frame)[1]) for frame in frames)
            path = write_session(folder / "sized", frames, name, actions=False)
            yield f"{width}x{height}", name, disk_bytes(path) / alone
            shutil.rmtree(path)


def bench(data: Path, say: Say, results: Path, rounds: int, count: int = 400) -> bool:
    """All tables; whether every target was reached. Says what is missing where something is."""
    missing = read_peers.missing()
    if missing or not data.is_dir():
        say(
            f"\nnothing was measured: {', '.join(missing)} not installed" if missing else f"\nnothing was measured: no recordings in {data}"
        )
        return False
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    misses: list[str] = []
    told: dict[str, Any] = {}
    try:
        frames = camera_frames(data, count, (448, 224), noise=1.0)
        sessions = Sessions(folder, frames)
        try:
            datasets = {
                f"lerobot {form}": read_peers.lerobot_dataset(folder / form, frames, form == "video") for form in ("video", "images")
            }
            files = {codec: read_peers.write_mcap(folder / f"{codec}.mcap", frames, codec == "zstd") for codec in ("raw", "zstd")}
            told["random"] = random_batches(sessions, datasets, rounds)
            told["in order"] = in_order(sessions, files, rounds)
            told["codec"] = codec_alone(sessions, frames, rounds)
        finally:
            sessions.close()
        misses += _say_rates(told, list(datasets), say)
        told["cold"] = cold(folder, frames, rounds)
        misses += _say_cold(told["cold"], say)
        told["sizes"] = list(sizes(data, folder, count, 0.0))
        misses += _say_sizes(told["sizes"], say)
    finally:
        shutil.rmtree(folder)
    results.mkdir(exist_ok=True)
    (results / "read.json").write_text(json.dumps(told, indent=1))
    say("\n" + "\n".join(f"- MISSED: {miss}" for miss in misses) if misses else "\n- every target reached")
    return not misses


def _say_rates(told: dict[str, Rates], datasets: list[str], say: Say) -> Iterator[str]:
    rates = told["random"]
    say(f"\n| random batches of {BATCH}, 448x224 | frames/s | {' | '.join(f'times {name}' for name in datasets)} |")
    say("|---" * (2 + len(datasets)) + "|")
    for name, found in rates.items():
        others = [ratio(rates, name, other) for other in datasets]
        say(f"| {name} | {_figure(found)} | {' | '.join(f'{other:.1f}' for other in others)} |")
        if name in CODECS:
            yield from (
                f"random {name}: {times:.2f} times {other}, at least {LEAST['lerobot']} were asked for"
                for other, times in zip(datasets, others, strict=True)
                if times < LEAST["lerobot"]
            )
    rates = told["in order"]
    say("\n| in order, 448x224 | frames/s | times MCAP's | times MCAP's when it compares checksums, as toddle does |\n|---|---|---|---|")
    for name, found in rates.items():
        peers = [f"mcap {name.partition(',')[0]}{checked}" for checked in ("", ", checked")]
        times = [f"{ratio(rates, name, peer):.2f}" if peer in rates else "-" for peer in peers]
        say(f"| {name} | {_figure(found)} | {' | '.join(times)} |")
    for codec in ("raw", "zstd"):
        best = max(ratio(rates, name, f"mcap {codec}, checked") for name in (codec, f"{codec}, ahead"))
        if best < LEAST[f"mcap {codec}"]:
            yield f"in order {codec}: {best:.2f} times MCAP's with checksums, at least {LEAST[f'mcap {codec}']} were asked for"
    rates = told["codec"]
    say("\n| random, 448x224, one thread | frames/s | of the codec's own |\n|---|---|---|")
    for name, found in rates.items():
        share = ratio(rates, name, f"{name} alone") if name in CODECS else None
        say(f"| {name} | {_figure(found)} | {'-' if share is None else f'{share:.2f}'} |")
        if share is not None and share < LEAST["codec"]:
            yield f"{name}: {share:.2f} of the codec's own speed, at least {LEAST['codec']} were asked for"


def _say_cold(found: dict[str, list[dict[str, float]]], say: Say) -> Iterator[str]:
    say(f"\n| {read_cold.READS} cold random frames of 448x224 | frames/s | in memory before | after | times slower than pread |")
    say("|---|---|---|---|---|")
    for way, rounds in found.items():
        slower = statistics.median(a["fps"] / b["fps"] for a, b in zip(found["pread"], rounds, strict=True))
        before, after = (statistics.median(one[key] for one in rounds) for key in ("before", "after"))
        say(f"| {way} | {_figure([one['fps'] for one in rounds])} | {before:.1%} | {after:.1%} | {slower:.2f} |")
        if max(one["before"] for one in rounds) > 0.05:
            yield f"cold, {way}: up to {max(one['before'] for one in rounds):.0%} was in memory, so it was not cold"
        if slower > MOST.get(way, 1.0) and way in MOST:
            yield f"cold, {way}: {slower:.2f} times slower than pread, at most {MOST[way]} was asked for"


def _say_sizes(found: list[tuple[str, str, float]], say: Say) -> Iterator[str]:
    say(f"\n| a session on disk, times the codec's bytes | {' | '.join(CODECS)} |\n|---{'|---' * len(CODECS)}|")
    for size in dict.fromkeys(size for size, _, _ in found):
        row = {codec: times for of, codec, times in found if of == size}
        say(f"| {size} | {' | '.join(f'{row[codec]:.3f}' for codec in CODECS)} |")
        yield from (
            f"size of {codec} at {size}: {times:.3f}, at most {MOST['size']} was asked for"
            for codec, times in row.items()
            if times > MOST["size"]
        )


def _figure(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"
