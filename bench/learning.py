"""Live learning: the real command, the whole graph, scores from its `summary.json`.

Each world is run once per seed for its full time. A target is reached when the median over the seeds
reaches it. Times count from the first frame; scores are on what was never shown.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCORES = ("cf_accuracy", "hit_at_3px", "skill_copy_last", "skill_action_blind")
MARGIN_S = 6


@dataclass(frozen=True)
class World:
    """How to start it, for how long, and what it must reach: (seconds, score) -> value."""

    file: str
    sets: dict[str, Any]
    seconds: int
    targets: dict[tuple[int, str], float]
    recording: str = ""
    import_options: list[str] = field(default_factory=list)


WORLDS = {
    "dot64": World(
        "launch/online.yaml", {"size": 64, "radius": 3, "step": 9, "stop_when_learned": False}, 120,
        {(60, "cf_accuracy"): 0.99, (60, "hit_at_3px"): 0.98, (120, "skill_copy_last"): 0.75},
    ),
    "dot224": World(
        "launch/online.yaml", {"spec": {"target": "delta"}, "stop_when_learned": False}, 240,
        {(120, "cf_accuracy"): 0.99, (240, "skill_copy_last"): 0.75, (240, "hit_at_3px"): 0.90},
    ),
    "car": World(
        "launch/replay.yaml", {"session": "car", "loop": True}, 300, {(300, "skill_copy_last"): 0.1},
        recording="donkeycar_tub", import_options=["--episodes-at", "151,514,516,527,651,666", "--fps", "20"],
    ),
}  # fmt: skip


def measure(name: str, seeds: int, results: Path, say: Callable[[str], None]) -> bool:
    """Run a world `seeds` times, print its table, keep the summaries; whether all targets were reached."""
    world = WORLDS[name]
    folder = results / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if world.recording and not _import(world, folder, say):
        return False
    summaries = [_run(world, folder, seed) for seed in range(seeds)]
    say(f"\n### {name}, {seeds} seeds, {os.cpu_count()} cores, {platform.machine()}\n")
    say(_table(world, summaries))
    lost = sum(count["lost"] for s in summaries for topic in s["topics"].values() for count in topic.values())
    reached = [_check(world, summaries, when, score, value, say) for (when, score), value in world.targets.items()]
    say(f"- lost messages: {lost}")
    return all(reached) and lost == 0


def recordings() -> Path:
    """TODDLE_DATA, or the folder beside the project."""
    return Path(os.environ.get("TODDLE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def _import(world: World, folder: Path, say: Callable[[str], None]) -> bool:
    data = recordings()
    if not (data / world.recording).is_dir():
        say(f"no recording {data / world.recording}: set TODDLE_DATA to the folder of recordings")
        return False
    command = ["sessions", "import", "donkeycar", str(data / world.recording), "--name", "car", *world.import_options]
    _toddle(command, folder)
    return True


def _run(world: World, folder: Path, seed: int) -> dict[str, Any]:
    sets = {**world.sets, "seed": seed, "window": False}
    options = [part for key, value in sets.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    _toddle(["launch", world.file, "--name", f"seed{seed}", "--time-limit", str(world.seconds + MARGIN_S), *options], folder)
    summary: dict[str, Any] = json.loads((folder / "runs" / f"seed{seed}" / "summary.json").read_bytes())
    return summary


def _toddle(arguments: list[str], folder: Path) -> None:
    env = {**os.environ, "TODDLE_RUNS": str(folder / "runs"), "TODDLE_SESSIONS": str(folder / "sessions")}
    subprocess.run([sys.executable, "-m", "toddle", *arguments], env=env, check=True, stdout=subprocess.DEVNULL)


def _at(world: World, summary: dict[str, Any], when: int) -> dict[str, Any]:
    """The scores at `when` s; those at the end of the run for its full time."""
    found: dict[str, Any] | None = summary["scores_at"].get(str(when))
    if found is None and when >= world.seconds:
        found = {**summary["scores"], "steps": summary["steps"], "samples": summary["samples"]}
    return found or {}


def _table(world: World, summaries: list[dict[str, Any]]) -> str:
    lines = ["| s | " + " | ".join(SCORES) + " | samples | robot steps |", "|" + "---|" * (len(SCORES) + 3)]
    times = [when for when in (30, 60, 120, 240) if when <= world.seconds]
    for when in times if world.seconds in times else [*times, world.seconds]:
        cells = [_spread([_at(world, s, when).get(score) for s in summaries]) for score in SCORES]
        counts = [_spread([_at(world, s, when).get(key) for s in summaries], 0) for key in ("samples", "steps")]
        lines.append(f"| {when} | " + " | ".join([*cells, *counts]) + " |")
    return "\n".join(lines)


def _spread(values: list[float | None], digits: int = 3) -> str:
    """Median, and the range in brackets."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle = statistics.median(known)
    return f"{middle:.{digits}f} ({min(known):.{digits}f} to {max(known):.{digits}f})"


def _check(
    world: World, summaries: list[dict[str, Any]], when: int, score: str, target: float, say: Callable[[str], None]
) -> bool:  # fmt: skip
    values = [_at(world, summary, when).get(score) for summary in summaries]
    known = [value for value in values if value is not None]
    reached = len(known) == len(values) and statistics.median(known) >= target
    say(f"- {'reached' if reached else 'MISSED '}: {score} at {when} s at least {target}: {_spread(values)}")
    return reached
