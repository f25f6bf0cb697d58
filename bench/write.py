"""Writing: what the recorder keeps up with, how its writer stands beside others, and what `kill -9` takes from each.

Loads: a real recorder, fed over the real bus by publishers that wait for nobody; the session is read back. Writers: the same
real frames into toddle and into other formats, in turns, each turn in a process of its own. Kills: a process writes at 30 Hz,
announces each frame that its writer has accepted, and is killed at a random moment; the format's own reader then counts.
"""

import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import recorder
from bench.frame_writer import FPS, Bare
from bench.pictures import pictures
from bench.write_peers import Told
from bench.writers import COMMITS, WRITERS, missing
from toddle.doctor import disk

LOADS_MB_S = (100.0, 200.0, 300.0)
MIXED_MB_S = recorder.RATE_HZ * recorder.HEIGHT * recorder.WIDTH * 3 / 1e6
ENOUGH = 1.25
"""Nothing may be lost on a disk that takes so many times the load in a bare file."""
SIZE = (224, 448)
DISTINCT = 300
KILLED_AFTER_S = (2.5, 6.0)
AT_ONCE = 3
"""Writers at 30 Hz that are killed beside each other."""

Say = Callable[[str], None]


def loads(say: Say, seconds: float) -> list[dict[str, Any]]:
    """A row for each load, each with what the disk takes of as many bytes in a bare file just before it."""
    say(f"\n| load of the recorder, {seconds:.0f} s | bare append, MB/s | small sync, ms | published | lost | cores of the recorder |")
    say("|---|---|---|---|---|---|")
    found = []
    for mb_s, small_hz in [*((mb_s, 0.0) for mb_s in LOADS_MB_S), (MIXED_MB_S, recorder.SMALL_HZ)]:
        syncs = disk.measure(Path(tempfile.gettempdir()))
        rate_hz = mb_s * 1e6 / (recorder.HEIGHT * recorder.WIDTH * 3)
        append_mb_s = append(int(rate_hz * seconds))
        row = recorder.mixed(seconds, rate_hz, small_hz)
        row |= {"asked_mb_s": mb_s, "asked_hz": small_hz, "disk_mb_s": append_mb_s, "sync_ms": statistics.median(syncs.sync_ms)}
        found.append(row)
        what = f"{row['mb_s']:.0f} MB/s" + (f" + {row['small_hz']:.0f} small messages/s" if small_hz else "")
        say(f"| {what} | {row['disk_mb_s']:.0f} | {row['sync_ms']:.2f} | {row['published']} | {row['lost']} | {row['cores']:.2f} |")
    return found


def append(frames: int) -> float:
    """MB/s that the disk takes of so many frames appended to a file and synced now and then."""
    picture = np.random.default_rng(0).integers(0, 255, (recorder.HEIGHT, recorder.WIDTH, 3), np.uint8)
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        start_s = time.perf_counter()
        file = Bare(Path(folder), picture.shape)
        for index in range(frames):
            file.write(index, picture)
        file.close()
        return frames * picture.nbytes / 1e6 / (time.perf_counter() - start_s)


def writers(say: Say, file: Path, count: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """By writer, its turns; the order changes from round to round. The slow ones take a half of the frames, and one turn."""
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in WRITERS if name not in COMMITS}
    for number in range(rounds):
        order = sorted(turns, key=lambda name, number=number: random.Random(f"{name} {number}").random())
        for name in order:
            slow = WRITERS[name].slow
            if missing(name) or (slow and number):
                continue
            with tempfile.TemporaryDirectory(prefix="tw-") as folder:
                told = Told("measure", name, folder, str(file), count // 2 if slow else count)
                turns[name].append(_run(told))
    say("\n| writer | frames/s | CPU ms a frame | bytes on disk to raw | longest write, ms | longest of all turns |")
    say("|---|---|---|---|---|---|")
    for name, rows in turns.items():
        if not rows:
            say(f"| {name} | not installed: {missing(name)} | | | | |")
            continue
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        spread = f"{middle['fps']:.0f} ({min(row['fps'] for row in rows):.0f} to {max(row['fps'] for row in rows):.0f})"
        worst = max(row["stall_ms"] for row in rows)
        say(f"| {name} | {spread} | {middle['cpu_ms']:.2f} | {middle['size']:.3f} | {middle['stall_ms']:.1f} | {worst:.1f} |")
    return turns


def kills(say: Say, file: Path, times: int) -> list[dict[str, Any]]:
    """For each writer how many accepted frames its format's reader does not find again."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [(name, seed) for seed in range(times) for name in WRITERS if not missing(name)]
        found = list(pool.map(lambda job: kill(*job, file), jobs))
    say(f"\n| writer at {FPS} Hz, killed {times} x | accepted | lost | most by one kill | also to other tools | announced | lost of it |")
    say("|---|---|---|---|---|---|---|")
    for name in WRITERS:
        rows = [row for row in found if row["writer"] == name]
        if not rows:
            say(f"| {name} | not installed: {missing(name)} | | | | | |")
            continue
        lost = [max(row["accepted"] - row["found"], 0) for row in rows]
        committed, taken = sum(row["committed"] for row in rows), sum(_taken(row) for row in rows)
        others = sum(max(row["accepted"] - (row["salvaged"] or row["found"]), 0) for row in rows)
        promise = f"{committed} | {taken}" if name.startswith("toddle") else "- | -"
        say(f"| {name} | {sum(row['accepted'] for row in rows)} | {sum(lost)} | {max(lost)} | {others} | {promise} |")
    for why in sorted({f"{row['writer']}: {row['why']}" for row in found if row["why"]}):
        say(f"- {why}")
    return found


def kill(name: str, seed: int, file: Path) -> dict[str, Any]:
    """One process killed at a random moment, and what is found of what it said."""
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        process = _start(Told("announce", name, folder, str(file)))
        assert process.stdout is not None
        said = {"accepted": 0, "committed": 0}
        last = int(random.Random(f"{name} {seed}").uniform(*KILLED_AFTER_S) * FPS)
        for line in process.stdout:
            word, _, number = line.partition(" ")
            said[word] = int(number)
            if word == "accepted" and said["accepted"] == last:
                time.sleep(random.Random(seed).uniform(0, 1 / FPS))  # anywhere between two frames or in one
                process.kill()
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL, f"{name} ended with {process.returncode}, not by the kill"
        return {"writer": name, **said, **_run(Told("read", name, folder, str(file)))}


def _taken(row: dict[str, Any]) -> int:
    return max(row["committed"] - row["found"], 0)


def _start(told: Told) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "bench.write_peers", msgspec.json.encode(told).decode()]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def _run(told: Told) -> dict[str, Any]:
    process = _start(told)
    said, _ = process.communicate()
    assert process.returncode == 0, f"failed: python -m bench.write_peers '{msgspec.json.encode(told).decode()}'"
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def bench(say: Say, results: Path, parts: list[str], quick: bool) -> bool:
    """The tables of these parts; whether every target was reached."""
    found: dict[str, Any] = {"loads": [], "writers": {}, "kills": []}
    if "loads" in parts:
        found["loads"] = loads(say, 4.0 if quick else 15.0)
    with tempfile.TemporaryDirectory(prefix="tw-") as folder:
        made = pictures(DISTINCT, *SIZE) if {"writers", "kills"} & set(parts) else None
        if made is not None:
            file = Path(folder, "pictures.npy")
            np.save(file, made)
            say(f"\nReal frames, {SIZE[1]}x{SIZE[0]}, {made[0].nbytes} bytes each.")
            found["writers"] = writers(say, file, 600, 2 if quick else 5) if "writers" in parts else {}
            found["kills"] = kills(say, file, 1 if quick else 5) if "kills" in parts else []
        elif parts != ["loads"]:
            say("\nno real frames: set TODDLE_DATA to the folder of recordings (and install PyAV and OpenCV)")
    results.mkdir(exist_ok=True)
    (results / "write.json").write_text(json.dumps(found, indent=1))
    misses = list(_misses(found))
    say("\n" + "\n".join(f"- MISSED: {miss}" for miss in misses) if misses else "\n- every target reached")
    return not misses


def _misses(found: dict[str, Any]) -> Iterator[str]:
    for row in found["loads"]:
        load = f"{row['asked_mb_s']:.0f} MB/s of frames and {row['asked_hz']:.0f} small messages a second"
        enough = row["disk_mb_s"] >= ENOUGH * row["asked_mb_s"]
        if (row["lost"] or row["missing"]) and enough:
            yield f"{load}: {row['lost']} lost, {row['missing']} missing in the session"
        if row["mb_s"] < 0.98 * row["asked_mb_s"] or row["small_hz"] < 0.98 * row["asked_hz"]:
            yield f"{load}: the publishers made {row['mb_s']:.0f} MB/s and {row['small_hz']:.0f} a second"
    for row in found["kills"]:
        if row["writer"].startswith("toddle") and _taken(row):
            yield f"{row['writer']}: {_taken(row)} frames lost that were announced as committed"
