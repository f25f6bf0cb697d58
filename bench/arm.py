"""The emulated SO-101 with two cameras, live by the real commands: how even its 30 Hz are, and whether it can be learned.

Even: recorder, trainer (niced), predictor and viewer run; at the same time this process sleeps from one moment to the next, 30
times a second, and does nothing else. Of both, how far the time between two steps is from 1/30 s; where lerobot itself (its reads
and its writes of one step) took longer than that, it is its time that counts. Learned: a session of random actions on three
joints, its last episodes held out, by `toddle evaluate`.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bench.arm_peers import TIMES

RATE_HZ = 30.0
MOST_UNEVEN = 3.0
CAMERAS = ("front", "side")
START_S = 120.0
WARM_UP_STEPS = 90
SKILLS = ("skill_copy_last", "skill_nearest_neighbour")
FIGURES = ("p50", "p99", "max")
BARE = "bare sleep loop"
EVEN = {
    "mode": "continuous",
    "rate_hz": RATE_HZ,
    "episode_steps": 300,
    "silence_s": 1,
    "selector_options": {"min_steps": 15, "max_steps": 45},
}
LEARN = {
    "joint": ["shoulder_pan", "shoulder_lift", "elbow_flex"], "delta": 15, "action_duration_s": 0.25, "rate_hz": 3.3, "size": 64,
    "episode_steps": 32,
}  # fmt: skip


class Desk:
    """A folder with an emulated arm, sessions and runs, and the commands there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            **os.environ, TIMES: str(folder / "times.json"),
            "TODDLE_SESSIONS": str(folder / "sessions"), "TODDLE_RUNS": str(folder / "runs"),
        }  # fmt: skip

    @contextmanager
    def arm(self, size: int) -> Iterator[dict[str, Any]]:
        """The emulator; what a launch file must be told of it."""
        words = ["emulate", "so101", "--folder", str(self.folder / "arm"), "--size", f"{size}x{size}"]
        words += [part for name in CAMERAS for part in ("--camera", f"{name}=drawn")]
        running = self.start(words, stdout=subprocess.PIPE, text=True)
        try:
            assert running.stdout is not None
            ready = next(line for line in running.stdout if line.startswith("ready: "))
            _, *sets = shlex.split(ready.partition("launch/so101.yaml")[2])
            yield dict(one.split("=", 1) for one in sets[::2])
        finally:
            running.terminate()
            running.communicate(timeout=START_S)

    def start(self, words: list[str], **options: Any) -> "subprocess.Popen[Any]":
        return subprocess.Popen([sys.executable, "-m", "toddle", *words], env=self.env, **options)

    def launch(self, name: str, sets: dict[str, Any], seconds: float) -> "subprocess.Popen[Any]":
        """Live, without a window."""
        told = {key: value if isinstance(value, str) else json.dumps(value) for key, value in {**sets, "window": False}.items()}
        options = [part for key, value in told.items() for part in ("--set", f"{key}={value}")]
        words = ["launch", "launch/so101.yaml", "--name", name, "--time-limit", str(seconds), *options]
        return self.start(words, stdout=subprocess.DEVNULL)

    def summary(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "runs" / name / "summary.json").read_bytes())
        return found


def even(desk: Desk, seconds: float) -> dict[str, Any]:
    """Percentiles, in ms, of how uneven the arm's steps are and those of a bare loop, in the time in which both were at it."""
    with desk.arm(224) as told:
        running = desk.launch("even", {**told, **EVEN, "driver": "bench.arm_peers:TimedArm"}, seconds)
        woke = _sleep_on(lambda: running.poll() is None)
        assert running.returncode == 0, f"the run ended with {running.returncode}"
    steps = np.array(json.loads((desk.folder / "times.json").read_bytes()), np.int64)[WARM_UP_STEPS:]
    begun, busy = steps[:, 0], steps[:, 1]
    bare = woke[(woke >= begun[0]) & (woke <= begun[-1])]
    period_ns = 1e9 / RATE_HZ
    found = {
        "arm": _figures(np.diff(begun) - np.maximum(busy[:-1], period_ns)), BARE: _figures(np.diff(bare) - period_ns),
        "lerobot": dict(zip(FIGURES, map(float, np.percentile(busy / 1e6, [50, 99, 100])), strict=True)),
        "steps": len(begun), "rate_hz": float((len(begun) - 1) * 1e9 / (begun[-1] - begun[0])), "lost": _lost(desk.summary("even")),
    }  # fmt: skip
    return {**found, "ratio": found["arm"]["p99"] / found[BARE]["p99"]}


def _sleep_on(running: Callable[[], bool]) -> np.ndarray:
    """When a loop woke that sleeps from one moment to the next."""
    woke: list[int] = []
    due_ns = time.monotonic_ns()
    while running():
        due_ns += round(1e9 / RATE_HZ)
        time.sleep(max(due_ns - time.monotonic_ns(), 0) / 1e9)
        woke.append(time.monotonic_ns())
    return np.array(woke)


def _figures(off_ns: np.ndarray) -> dict[str, float]:
    return dict(zip(FIGURES, map(float, np.percentile(np.abs(off_ns) / 1e6, [50, 99, 100])), strict=True))


def _lost(summary: dict[str, Any]) -> int:
    return sum(count["lost"] for topic in summary["topics"].values() for count in topic.values())


def learned(desk: Desk, live_s: float, train_s: float, seeds: int) -> dict[str, Any]:
    """What a session of `live_s` teaches in `train_s`, from several seeds: scores on its episodes that were held out."""
    with desk.arm(64) as told:
        code = desk.launch("live", {**told, **LEARN}, live_s).wait(live_s + START_S)
        assert code == 0, f"the run ended with {code}"
    live = desk.summary("live")
    session, lost = live["session"], _lost(live)
    scores = []
    for seed in range(seeds):
        name = f"again{seed}"
        words = [
            "replay",
            session,
            "--loop",
            "--rate",
            "0",
            "--time-limit",
            str(train_s),
            "--name",
            name,
            "--no-viewer",
            "--set",
            f"seed={seed}",
        ]
        assert desk.start(words, stdout=subprocess.DEVNULL).wait(train_s + START_S) == 0
        lost += _lost(desk.summary(name))
        said = subprocess.check_output([sys.executable, "-m", "toddle", "evaluate", name, session, "--json"], env=desk.env)
        (held_out,) = [row for row in json.loads(said)["scores"] if not row["seen_in_training"]]
        scores.append({**held_out["scores"], "cases": held_out["cases"], "samples": desk.summary(name)["samples"]})
    return {"scores": scores, "steps": live["steps"], "lost": lost}


def bench(say: Callable[[str], None], results: Path, seconds: float, live_s: float, train_s: float, seeds: int) -> bool:
    """Two tables; whether every target was reached."""
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    desk = Desk(folder)
    try:
        cell = even(desk, seconds)
        _say_even(say, cell)
        taught = learned(desk, live_s, train_s, seeds)
        _say_learned(say, taught, train_s)
    finally:
        shutil.rmtree(folder)
    results.mkdir(exist_ok=True)
    (results / "arm.json").write_text(json.dumps({"even": cell, "learned": taught}, indent=1))
    misses = (
        [f"p99 is {cell['ratio']:.2f} times the bare loop's, at most {MOST_UNEVEN:g} was asked for"] if cell["ratio"] > MOST_UNEVEN else []
    )
    misses += [f"{name} is not above 0 with every seed" for name in SKILLS if min(one[name] for one in taught["scores"]) <= 0]
    misses += [f"{part['lost']} messages were lost" for part in (cell, taught) if part["lost"]]
    say("\n" + "\n".join(f"- MISSED: {miss}" for miss in misses) if misses else "\n- every target reached, 0 lost")
    return not misses


def _say_even(say: Callable[[str], None], cell: dict[str, Any]) -> None:
    say(f"\n| {cell['steps']} steps at {cell['rate_hz']:.2f} Hz | ms: p50 | p99 | max |\n|---|---|---|---|")
    for who, text in (
        ("arm", "between two steps, off 1/30 s"),
        (BARE, "the same of a bare sleep loop"),
        ("lerobot", "lerobot's own, of a step"),
    ):
        say(f"| {text} | " + " | ".join(f"{cell[who][key]:.2f}" for key in FIGURES) + " |")
    say(f"| arm to bare | - | {cell['ratio']:.2f} | - |")


def _say_learned(say: Callable[[str], None], taught: dict[str, Any], train_s: float) -> None:
    say(f"\n| {taught['steps']} steps, {train_s:.0f} s of training, held-out episodes | " + " | ".join(SKILLS) + " | cases | samples |")
    say("|---" * (len(SKILLS) + 3) + "|")
    for seed, one in enumerate(taught["scores"]):
        say(f"| seed {seed} | " + " | ".join(f"{one[name]:.3f}" for name in SKILLS) + f" | {one['cases']} | {one['samples']:,} |")
