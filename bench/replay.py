"""Replay, by the real command into a real recorder: how punctual it is at rate 1, and whether anything is lost at full speed.

The recording's frames come at uneven times, as a real robot's do. At the same time as the replay this process sleeps until
each of the same moments, and does nothing else; only the time counts in which both were at it. Late is what a moment is behind
the schedule that the most punctual one sets. At full speed every frame of the second session is compared with the first's.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from protocol import messages as m
from storage.reader import SessionReader
from storage.writer import SessionWriter

RATE_HZ, JITTER_S = 30.0, 0.004
SIZES = ((224, 224), (480, 640))
MOST_LATE = 2.0
FULL_FRAMES = 300
START_S = 120.0
BARE = "bare sleep loop"
FIGURES = ("p50", "p99", "max")


def record(path: Path, frames: int, height: int, width: int, seed: int = 0) -> list[int]:
    """A session of noisy frames and their actions, an episode every 100; when each was captured, monotonic ns."""
    rng = np.random.default_rng(seed)
    times_ns = [round(t * 1e9) for t in np.cumsum(np.maximum(rng.normal(1 / RATE_HZ, JITTER_S, frames), 0.001))]
    ground = rng.integers(0, 255, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
    space = m.ActionSpaceInfo(names=["a"], choices=[{"a": 0.0}, {"a": 1.0}])
    robot = m.Robot(
        robot="robot", driver="noise", params={}, cameras=[m.CameraInfo(name="front", height=height, width=width)], actions=space,
        rate_hz=RATE_HZ, timing="paced", safe_action={"a": 0.0},
    )  # fmt: skip
    seqs: dict[str, int] = {}
    with SessionWriter.create(path) as writer:

        def say(kind: str, body: m.Body, at_ns: int, step: int | None = None, **arrays: np.ndarray) -> None:
            seq = seqs[kind] = seqs.get(kind, -1) + 1
            place = (None, None) if step is None else divmod(step, 100)
            envelope = m.Envelope(
                topic=f"{kind}/robot", source="robot", run="bench", seq=seq, t_ns=10**18 + at_ns, mono_ns=at_ns, episode=place[0],
                step=place[1],
            )  # fmt: skip
            writer.append(m.Message(envelope=envelope, body=body, arrays={f"image/{name}": array for name, array in arrays.items()}))

        say("robot", robot, 0)
        for step, at_ns in enumerate(times_ns):
            noise = rng.integers(-6, 7, (height, width, 3))
            say("frame", m.Frame(), at_ns, step, front=np.clip(ground + noise, 0, 255).astype(np.uint8))
            say("action", m.ActionTaken(action={"a": float(step % 2)}, by="x", start_ns=at_ns, end_ns=at_ns), at_ns, step)
    return times_ns


def sleep_until(times_ns: list[int]) -> list[int]:
    """When a bare loop wakes that sleeps until each of these moments, counted from its first."""
    woke: list[int] = []
    start_ns = time.monotonic_ns() - times_ns[0]
    for at_ns in times_ns:
        left_s = (start_ns + at_ns - time.monotonic_ns()) / 1e9
        if left_s > 0:
            time.sleep(left_s)
        woke.append(time.monotonic_ns())
    return woke


def late_ms(planned_ns: list[int], real_ns: list[int], first_ns: int, last_ns: int) -> np.ndarray:
    """How late those from `first_ns` to `last_ns` were, against the schedule of the most punctual one."""
    real = np.array(real_ns)
    late = (real - np.array(planned_ns))[(real >= first_ns) & (real <= last_ns)]
    return (late - late.min()) / 1e6


class Place:
    """A folder of sessions and runs, and the command in it."""

    def __init__(self, folder: Path) -> None:
        self.sessions, self.runs = folder / "sessions", folder / "runs"
        self.env = {**os.environ, "TODDLE_SESSIONS": str(self.sessions), "TODDLE_RUNS": str(self.runs)}

    def replay(self, session: str, name: str, rate: float) -> "subprocess.Popen[bytes]":
        words = ["replay", session, "--name", name, "--rate", str(rate), "--no-learn", "--no-viewer"]
        return subprocess.Popen([sys.executable, "-m", "toddle", *words], env=self.env, stdout=subprocess.DEVNULL)

    def frames(self, name: str) -> list[m.Message]:
        with SessionReader(self.sessions / name) as reader:
            return list(reader.topic_messages("frame"))

    def summary(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.runs / name / "summary.json").read_bytes())
        return found


def punctual(place: Place, frames: int, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Replays at rate 1, each with a bare loop beside it: percentiles of how late they were, in ms; medians over the rounds."""
    height, width = size
    name = f"even{height}"
    planned = record(place.sessions / name, frames, height, width)
    turns = [_turn(place, name, f"{name}-{number}", planned) for number in range(rounds)]
    found: dict[str, Any] = {"turns": turns, "ratio": statistics.median(turn["replay"]["p99"] / turn[BARE]["p99"] for turn in turns)}
    for who in ("replay", BARE):
        found[who] = {key: statistics.median(turn[who][key] for turn in turns) for key in FIGURES}
    return found


def _turn(place: Place, name: str, again_name: str, planned: list[int]) -> dict[str, Any]:
    running = place.replay(name, again_name, 1.0)
    wait_for(lambda: (place.sessions / again_name / "session.json").exists(), "the replay's recorder")
    woke = sleep_until(planned)
    assert running.wait(START_S) == 0, "the replay has failed"
    again = place.frames(again_name)
    assert len(again) == len(planned), f"{len(again)} of {len(planned)} frames came"
    real = {"replay": [one.envelope.mono_ns for one in again], BARE: woke}
    window = max(times[0] for times in real.values()), min(times[-1] for times in real.values())
    found: dict[str, Any] = {}
    for who, times in real.items():
        late = late_ms(planned, times, *window)
        found[who] = {**dict(zip(FIGURES, map(float, np.percentile(late, [50, 99, 100])), strict=True)), "frames": len(late)}
    return found


def full_speed(place: Place, runs: int) -> dict[str, Any]:
    """As fast as the recorder takes it, again and again: in how many runs nothing was lost, and frames per second."""
    record(place.sessions / "full", FULL_FRAMES, *SIZES[0])
    was = [(one.envelope.episode, one.envelope.step, one.arrays["image/front"].tobytes()) for one in place.frames("full")]
    whole, rates = 0, []
    for number in range(runs):
        name = f"full{number}"
        code = place.replay("full", name, 0).wait(START_S)
        frames = place.frames(name)
        now = [(one.envelope.episode, one.envelope.step, one.arrays["image/front"].tobytes()) for one in frames]
        lost = sum(count["lost"] for topic in place.summary(name)["topics"].values() for count in topic.values())
        whole += code == 0 and now == was and not lost
        rates.append((len(frames) - 1) / ((frames[-1].envelope.mono_ns - frames[0].envelope.mono_ns) / 1e9))
        shutil.rmtree(place.sessions / name)
    return {"runs": runs, "whole": whole, "frames": len(was), "hz": statistics.median(rates), "least_hz": min(rates), "most_hz": max(rates)}


def wait_for(condition: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < until_s, f"{what} has not come"
        time.sleep(0.01)


def bench(say: Callable[[str], None], results: Path, seconds: float, rounds: int, runs: int) -> bool:
    """Two tables; whether every target was reached."""
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    place = Place(folder)
    try:
        say(f"\n| rate 1, {RATE_HZ:.0f} Hz, {rounds} x {seconds:.0f} s | late, ms: p50 | p99 | max |\n|---|---|---|---|")
        found: dict[str, Any] = {}
        for height, width in SIZES:
            cell = found[f"{width}x{height}"] = punctual(place, int(seconds * RATE_HZ), (height, width), rounds)
            for who in ("replay", BARE):
                say(f"| {who}, {width}x{height} | " + " | ".join(f"{cell[who][key]:.2f}" for key in FIGURES) + " |")
            ratios = [turn["replay"]["p99"] / turn[BARE]["p99"] for turn in cell["turns"]]
            say(f"| replay to bare, median of neighbours | - | {cell['ratio']:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | - |")
        full = found["full"] = full_speed(place, runs)
    finally:
        shutil.rmtree(folder)
    say("\n| full speed, 224x224 | runs in which nothing was lost | frames/s into the recorder |\n|---|---|---|")
    rates = f"{full['hz']:.0f} ({full['least_hz']:.0f} to {full['most_hz']:.0f})"
    say(f"| {full['frames']} frames | {full['whole']} of {full['runs']} | {rates} |")
    results.mkdir(exist_ok=True)
    (results / "replay.json").write_text(json.dumps(found, indent=1))
    misses = [
        f"{name}: p99 is {cell['ratio']:.2f} times the bare loop's, at most {MOST_LATE:g} was asked for"
        for name, cell in found.items() if name != "full" and cell["ratio"] > MOST_LATE
    ]  # fmt: skip
    if full["whole"] < full["runs"]:
        misses.append(f"full speed: something was lost in {full['runs'] - full['whole']} runs")
    say("\n" + "\n".join(f"- MISSED: {miss}" for miss in misses) if misses else "\n- every target reached, 0 lost")
    return not misses
