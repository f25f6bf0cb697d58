"""The bus beside bare pyzmq loops: latency at 30 Hz and frames per second at saturation, in one interleaved run.

All loops of a cell (a frame size, a number of subscribers) live at the same time. At 30 Hz they send in turn, so that each
frame of one has a neighbour of the other under the same load of the machine; at saturation they take turns of a second or
two, and every ratio is of neighbouring turns.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import dora_bus
from bench.bus_peers import Phase, Setup

SIZES = ((224, 224), (224, 448), (480, 640), (720, 1280))
RATE_HZ = 30.0
LOOPS = ("toddle", "nodrop", "acked")
MOST_P50, MOST_P99, LEAST_FPS, LEAST_FPS_SMALL = 1.25, 2.0, 0.8, 0.6
TURN_S = 1.5


@dataclass
class Loop:
    """A publisher and its subscribers."""

    name: str
    setup: Setup
    pub: subprocess.Popen[str] = field(init=False)
    subs: list[subprocess.Popen[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.pub = self._start("pub", "pub")
        self.subs = [self._start("sub", f"sub{index}") for index in range(self.setup.subscribers)]
        assert self.pub.stdout is not None and self.pub.stdout.readline() == "ready\n", f"{self.name} has not started"

    def _start(self, role: str, name: str) -> subprocess.Popen[str]:
        setup = msgspec.json.encode(msgspec.structs.replace(self.setup, name=name)).decode()
        argv = [sys.executable, "-m", "bench.bus_peers", f"{self.name}_{role}", setup]
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, phase: Phase) -> dict[str, Any]:
        """One phase, to its end: what was sent, and what each subscriber got."""
        assert self.pub.stdin is not None and self.pub.stdout is not None
        self.pub.stdin.write(msgspec.json.encode(phase).decode() + "\n")
        self.pub.stdin.flush()
        sent = json.loads(self.pub.stdout.readline())
        return {**sent, "subs": [json.loads(sub.stdout.readline()) for sub in self.subs if sub.stdout is not None]}

    def end(self) -> None:
        assert self.pub.stdin is not None
        self.pub.stdin.close()
        self.pub.wait(20)
        for sub in self.subs:
            try:
                sub.wait(3 if self.name == "toddle" else 0)
            except subprocess.TimeoutExpired:
                sub.kill()
                sub.wait()
        for process in (self.pub, *self.subs):
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            process.stdout.close()


def measure(size: tuple[int, int], subscribers: int, frames: int, rounds: int, seconds: float) -> dict[str, Any]:
    """One cell; per loop its latency at 30 Hz and its saturated speed, and the ratios to the bare loops."""
    height, width = size
    with tempfile.TemporaryDirectory(prefix="tb-") as folder:
        loops: dict[str, Loop | dora_bus.DoraLoop] = {}
        for name in LOOPS:
            place = Path(folder, name)
            place.mkdir(mode=0o700)
            loops[name] = Loop(name, Setup(str(place), "", "", subscribers, height, width))
        if dora_bus.installed():
            place = Path(folder, "dora")
            place.mkdir(mode=0o700)
            loops["dora"] = dora_bus.DoraLoop(Setup(str(place), "", "", subscribers, height, width))
        try:
            slow = _at_rate(loops, frames)
            fast = [_turns(loops, Phase(100 + turn, seconds=seconds)) for turn in range(rounds)]
        finally:
            for loop in loops.values():
                loop.end()
    return {"size": f"{width}x{height}", "subscribers": subscribers, "at_30_hz": slow, "saturated": _saturated(fast)}


def _at_rate(loops: dict[str, Loop | dora_bus.DoraLoop], frames: int) -> dict[str, Any]:
    for loop in loops.values():
        loop.run(Phase(0, RATE_HZ, 30))  # warm
    phases = [Phase(1, RATE_HZ, frames, offset_s=turn / len(loops) / RATE_HZ) for turn in range(len(loops))]
    with ThreadPoolExecutor(len(loops)) as pool:
        results = dict(zip(loops, pool.map(lambda loop, phase: loop.run(phase), loops.values(), phases), strict=True))
    found = {}
    for name, result in results.items():
        latencies = np.concatenate([sub["latency_ms"] for sub in result["subs"]])
        found[name] = {
            "p50_ms": float(np.percentile(latencies, 50)), "p99_ms": float(np.percentile(latencies, 99)), "frames": result["sent"],
            "lost": sum(sub["lost"] for sub in result["subs"]) + sum(result["sent"] - sub["received"] for sub in result["subs"]),
            "pub_cpu_ms": result["cpu_s"] / result["sent"] * 1000,
            "sub_cpu_ms": statistics.mean(sub["cpu_s"] for sub in result["subs"]) / result["sent"] * 1000,
        }  # fmt: skip
    return found


def _turns(loops: dict[str, Loop | dora_bus.DoraLoop], phase: Phase) -> dict[str, Any]:
    """One turn of each loop, another one first each time: who comes after a loop feels what it leaves behind."""
    names = list(loops)
    first = phase.number % len(names)
    results = {name: loops[name].run(phase) for name in names[first:] + names[:first]}
    return {name: results[name] for name in names}


def _saturated(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in rounds[0]:
        fps = [statistics.median(sub["received"] / sub["wall_s"] for sub in one[name]["subs"]) for one in rounds]
        lost = sum(one[name]["sent"] - sub["received"] for one in rounds for sub in one[name]["subs"])
        sent = sum(one[name]["sent"] * len(one[name]["subs"]) for one in rounds)
        found[name] = {"fps": fps, "median_fps": statistics.median(fps), "lost": lost, "sent": sent}
    for bare in found.keys() - {"toddle"}:
        found["toddle"][f"of_{bare}"] = statistics.median(
            a / b for a, b in zip(found["toddle"]["fps"], found[bare]["fps"], strict=True)
        )  # fmt: skip
    return found


def bench(say: Callable[[str], None], results: Path, cells: Iterable[tuple[tuple[int, int], int]], frames: int, rounds: int) -> bool:
    """The table of these cells; whether every target was reached."""
    found = []
    say("\n| frame | subs | loop | p50 ms | p99 ms | CPU ms pub | sub | saturated fps | toddle's p50 to its | p99 | fps |")
    say("|---|---|---|---|---|---|---|---|---|---|---|")
    for size, subscribers in cells:
        cell = measure(size, subscribers, frames, rounds, TURN_S)
        found.append(cell)
        say("\n".join(_rows(cell)))
    say("\ndora drops what is not taken in time: see `lost` in bus.json" if dora_bus.installed() else f"\n{dora_bus.MISSING}")
    results.mkdir(exist_ok=True)
    (results / "bus.json").write_text(json.dumps(found, indent=1))
    misses = [miss for cell in found for miss in _misses(cell)]
    say("\n" + "\n".join(f"- MISSED: {miss}" for miss in misses) if misses else "\n- every target reached, 0 lost")
    return not misses


def _rows(cell: dict[str, Any]) -> Iterator[str]:
    slow, fast = cell["at_30_hz"], cell["saturated"]
    for name in slow:
        one = slow[name]
        numbers = [f"{one[key]:.2f}" for key in ("p50_ms", "p99_ms", "pub_cpu_ms", "sub_cpu_ms")] + [f"{fast[name]['median_fps']:.0f}"]
        ratios = ["-"] * 3 if name == "toddle" else [f"{ratio:.2f}" for ratio in _ratios(cell, name)]
        yield "| " + " | ".join([cell["size"], str(cell["subscribers"]), name, *numbers, *ratios]) + " |"


def _ratios(cell: dict[str, Any], bare: str) -> tuple[float, float, float]:
    slow, fast = cell["at_30_hz"], cell["saturated"]
    p50, p99 = (slow["toddle"][key] / slow[bare][key] for key in ("p50_ms", "p99_ms"))
    return p50, p99, fast["toddle"][f"of_{bare}"]


def _misses(cell: dict[str, Any]) -> Iterator[str]:
    """Against the loop that gives the same guarantees; nothing may be lost anywhere."""
    what = f"{cell['size']}, {cell['subscribers']} subscribers"
    p50, p99, fps = _ratios(cell, "acked")
    least = LEAST_FPS_SMALL if cell["size"] == "224x224" else LEAST_FPS
    if p50 > MOST_P50:
        yield f"{what}: p50 is {p50:.2f} times the bare loop's, at most {MOST_P50} was asked for"
    if p99 > MOST_P99:
        yield f"{what}: p99 is {p99:.2f} times the bare loop's, at most {MOST_P99} was asked for"
    if fps < least:
        yield f"{what}: {fps:.2f} of the bare loop's frames per second, at least {least} were asked for"
    lost = sum(cell[part][name]["lost"] for part in ("at_30_hz", "saturated") for name in LOOPS)
    if lost:
        yield f"{what}: {lost} frames lost"
