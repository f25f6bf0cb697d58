"""What models learn, trained alone for a set time and scored on what was never shown.

Each part trains some recipes on some worlds with several seeds. Every result is kept as it comes, so that a run that was cut
off goes on where it was. A target is reached when the median over the seeds reaches it.
"""

import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench import worlds
from bench.trained import OPEN_END, Recipe, Trained, train_for
from worldmodel.evaluate import (
    Baselines,
    calibration,
    fit,
    groups_of,
    marker_of,
    probe_spreads,
    score_rollouts,
    score_states,
    score_windows,
    window_spreads,
)
from worldmodel.scores.inference import ActionInference
from worldmodel.scores.intervals import Figure
from worldmodel.source import Arrays

Numbers = dict[str, float]
FPS = {"g1_bottle_v30": 30, "donkeycar_tub": 20}
COPY, NEAREST, BLIND = "copy last", "nearest neighbour", "blind optimum"


@dataclass(frozen=True)
class Trial:
    """One row of a table: a recipe on a world for so long, and the least (or, below 0, the most) of some numbers."""

    world: str
    seconds: float
    label: str = "default"
    other: Recipe | None = None
    least: Numbers = field(default_factory=dict)
    most: Numbers = field(default_factory=dict)


COSINE = {"schedule": "cosine", "sampling": {"epoch": 1.0}}
"""As `toddle train --set train.schedule=cosine` has it."""
RECIPES = {
    "dot224": Recipe(spec={"target": "delta"}, train=COSINE),
    "arm": Recipe(spec={"context": 1, "mlp_ratio": 2}, train={**COSINE, "lr": 0.003, "augment_shift": 6}),
    "g1_bottle_v30": Recipe(
        spec={"width": 96},
        train={
            **COSINE, "total_samples": 8000, "optimizer": "adamw", "lr": 0.001, "boost": 0.0,
            "augment_shift": 6, "augment_brightness": 0.1,
        },
    ),
}  # fmt: skip
"""The preset small, and what is set for this world.

The large dot jumps by its own width: painting it anew is learned sooner than where it came from. The arm is at rest between two
actions, so one frame tells all; its camera stands still, so pictures shifted by a few pixels stand for poses that were not seen;
narrower MLPs make more of the same time. G1 has 775 transitions: a small model with AdamW's small steps knows them least by heart, and
no better after 8,000 samples (chosen by leaving out episodes 0 and 2 of the training).
"""
DEFAULT = Recipe(train=COSINE)
ORIGINAL = Recipe("original-2025-10", train={"batch_size": 8, "scale_lr": True, "sampling": {"epoch": 1.0}})
"""As its own batch training had it: the rate times the batch size, and all transitions alike."""
DOT = {"cf_accuracy": 0.99, "switch_accuracy": 0.99, "skill": 0.85, "hit": 0.98, "mass": 0.95, "valid_horizon": 16}
DOT_MOST = {"ghost": 0.02, "mass": 1.05}
ARM = {"cf_accuracy": 0.95, "cf_skill": 0.6, "skill": 0.5, "nearest_skill": 0.0}
REAL = {"skill_low": 0.0, "nearest_skill_low": 0.0}


def _other(world: str, spec: dict[str, Any] | None = None, train: dict[str, Any] | None = None) -> Recipe:
    """This world's default with something else."""
    base = RECIPES.get(world, DEFAULT)
    return Recipe(base.model, {**(base.spec or {}), **(spec or {})}, {**(base.train or {}), **(train or {})})


CHOICES: dict[str, dict[str, Any]] = {
    "default": {},
    "absolute positions": {"spec": {"positions": "absolute"}},
    "delta, nothing moved": {"spec": {"target": "delta"}},
    "full target": {"spec": {"target": "full"}},
    "separator bars": {"spec": {"action_input": "separator"}},
    "full-length decoder": {"spec": {"decoder": "full"}},
    "AdamW": {"train": {"optimizer": "adamw"}},
}
"""From the default, one at a time."""
WEIGHTED = {"boost": 3.0, "anneal_samples": OPEN_END}
"""What changes counts four times to the end: more outcomes are right (on worlds.arm(1) too), pixels are no better."""
EQUAL_TIME = (("dot64", 60), ("arm", 150))

PARTS: dict[str, list[Trial]] = {
    "dot64": [Trial("dot64", 90, least=DOT, most=DOT_MOST)],
    "dot224": [Trial("dot224", 240, least={**DOT, "band_cf_accuracy": 0.99}, most=DOT_MOST)],
    "arm": [Trial("arm", 300, other=_other("arm", train=WEIGHTED), least=ARM)],
    "pusht": [Trial("pusht", 300, least={"skill": 0.0, "nearest_skill": 0.0})],
    "g1": [Trial("g1_bottle_v30", 300, least=REAL)],
    "car": [Trial("donkeycar_tub", 300, least={**REAL, "skill": 0.22, "obeys": 0.0})],
    "calibration": [
        Trial(
            "arm", 300, "ensemble", _other("arm", {"ensemble": 8}, {"loss": {"ensemble": 1.0}}),
            least={"spearman": 0.5, "auroc": 0.8}, most={"coverage_error": 0.05, "pixel_coverage_error": 0.05},
        ),
    ],
    "original": [
        trial
        for world, seconds in EQUAL_TIME
        for trial in (Trial(world, seconds), Trial(world, seconds, "original-2025-10", ORIGINAL))
    ],
    "choices": [
        Trial(world, seconds, label, _other(world, **choice)) for world, seconds in EQUAL_TIME for label, choice in CHOICES.items()
    ],
}  # fmt: skip


def bench(say: Callable[[str], None], results: Path, parts: list[str], seeds: int, again: bool) -> bool:
    """Measure these parts, print their tables; whether all targets were reached."""
    reached = True
    for part in parts:
        say(f"\n### {part}: {seeds} seeds, {os.cpu_count()} cores, {platform.machine()}\n")
        rows = []
        for trial in PARTS[part]:
            found = [_outcome(trial, seed, results / "worldmodel", again) for seed in range(seeds)]
            rows.append((trial, found))
        say(_table(rows))
        for trial, found in rows:
            reached &= _check(trial, found, say)
    return reached


def _outcome(trial: Trial, seed: int, folder: Path, again: bool) -> Numbers:
    """From the folder when it was measured before."""
    name = f"{trial.world}-{trial.seconds:g}s-{trial.label}-{seed}".replace(" ", "_")
    file = folder / f"{name}.json"
    if file.is_file() and not again:
        found: Numbers = json.loads(file.read_bytes())
        return found
    world = _world(trial.world, folder)
    trained = train_for(world, trial.other or RECIPES.get(trial.world, DEFAULT), trial.seconds, seed)
    numbers = _scores(world.with_context(trained.predictor.spec.context), trained, seed)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(numbers, indent=1))
    return numbers


def _world(name: str, folder: Path) -> worlds.World:
    """The same for every seed: seeds differ in the model and in what it draws."""
    if name.startswith("dot"):
        return worlds.dot(0, int(name[3:]))
    if name in worlds.SIZES:
        sessions = folder / "sessions"
        sessions.mkdir(parents=True, exist_ok=True)
        return worlds.recording(name, sessions)
    return {"arm": worlds.arm, "pusht": worlds.pusht}[name](0)


# -- scores -----------------------------------------------------------------------------------------


def _scores(world: worlds.World, trained: Trained, seed: int) -> Numbers:
    """All that this world allows, by name."""
    predictor = trained.predictor
    out: Numbers = {"samples": trained.samples, "samples_per_s": trained.samples / trained.seconds, "parameters": trained.parameters}
    baselines = Baselines.of(world.train)
    for number, (name, probe) in enumerate(world.probes.items()):
        report = score_states(predictor, probe, baselines, seed=seed)
        cf, place = report.counterfactual, report.place
        figures: dict[str, Any] = {
            "cf_accuracy": cf.accuracy, "cf_placed": cf.placed, "cf_skill": cf.skill, "divergence": cf.divergence,
            "switch_accuracy": None if report.switch is None else report.switch.accuracy,
            "skill": _over(report.pixels, COPY), "blind_skill": _over(report.pixels, BLIND),
        }  # fmt: skip
        if place is not None:
            figures |= {"hit": place.hit, "mass": place.mass, "ghost": place.ghost, "median_px": place.median_px}
        prefix = "" if number == 0 else f"{name}_"
        out |= {f"{prefix}{key}": value for key, value in _plain(figures).items()}
    out |= _held_out(world, trained, baselines, seed)
    if world.rollouts is not None:
        marker = marker_of(next(iter(world.probes.values()))) if world.probes else None
        told = score_rollouts(predictor, world.rollouts, predictor.spec.context, marker, seed=seed)
        out["valid_horizon"] = told.valid_horizon
    if predictor.spec.ensemble > 1 and world.validation is not None:
        out |= _calibration(world, trained, seed)
    return out


def _held_out(world: worlds.World, trained: Trained, baselines: Baselines, seed: int) -> Numbers:
    """On recorded transitions; with an interval where only those are known."""
    ids, source = world.held_out.ids(), world.held_out
    second = _second(source, FPS.get(world.name, 2))[ids]
    groups = groups_of(source.episode[ids], second)
    inference = None if world.probes else ActionInference(world.train, world.train.ids(), world.actions, seed)
    report = score_windows(trained.predictor, source, ids, world.actions, baselines, groups, seed, inference)
    figures: dict[str, Any] = {"nearest_skill": _over(report.pixels, NEAREST), "held_out_skill": _over(report.pixels, COPY)}
    if not world.probes:
        figures["skill"] = figures.pop("held_out_skill")
    if report.inference is not None:
        told = report.inference
        figures |= {"inferred": told.predicted, "inferred_permuted": told.permuted, "inferred_real": told.real}
    out = _plain(figures)
    if "inferred" in out and "inferred_permuted" in out:
        out["obeys"] = out["inferred"] - out["inferred_permuted"]
    return out


def _calibration(world: worlds.World, trained: Trained, seed: int) -> Numbers:
    """Fitted on the validation's transitions, judged on states of the test; `novel` are those of the octant that was never shown."""
    assert world.validation is not None
    predictor, validation = trained.predictor, world.validation
    fitted = fit(window_spreads(predictor, validation, validation.ids(), seed=seed))
    seen, novel = (probe_spreads(predictor, world.probes[name], seed=seed) for name in ("seen", "novel"))
    told = calibration(seen, fitted, seed)
    unknown = calibration(novel, fitted, seed, seen.std)
    figures: dict[str, Any] = {
        "coverage_error": told.frame.coverage_error, "spearman": told.frame.spearman, "crps_skill": told.frame.crps_skill,
        "auroc": unknown.auroc_novel, "novel_spearman": unknown.frame.spearman, "novel_coverage_error": unknown.frame.coverage_error,
        "pixel_coverage_error": None if told.recalibrated is None else told.recalibrated.coverage_error,
        "raw_pixel_coverage_error": None if told.raw is None else told.raw.coverage_error,
    }  # fmt: skip
    return _plain(figures)


def _over(pixels: Any, name: str) -> Figure | None:
    found = pixels.over(name)
    return None if found is None else found.skill


def _plain(figures: dict[str, Any]) -> Numbers:
    """Values, and the ends of the intervals of those that have one; what does not apply is left out."""
    out: Numbers = {}
    for name, figure in figures.items():
        if isinstance(figure, Figure):
            out[name] = figure.value
            if figure.low is not None and figure.high is not None:
                out |= {f"{name}_low": figure.low, f"{name}_high": figure.high}
        elif figure is not None:
            out[name] = float(figure)
    return out


def _second(source: Arrays, fps: int) -> np.ndarray:
    """Of each frame, which second of its episode it lies in."""
    first = np.append(True, np.diff(source.episode) != 0)
    start = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))
    return (np.arange(len(first)) - start) // fps


# -- tables -----------------------------------------------------------------------------------------

SHOWN = (
    "cf_accuracy", "switch_accuracy", "band_cf_accuracy", "cf_skill", "skill", "blind_skill", "nearest_skill", "held_out_skill", "hit",
    "mass", "ghost", "valid_horizon", "inferred", "inferred_permuted", "coverage_error", "pixel_coverage_error", "spearman", "auroc",
    "samples",
)  # fmt: skip


def _table(rows: list[tuple[Trial, list[Numbers]]]) -> str:
    names = [name for name in SHOWN if any(name in numbers for _, found in rows for numbers in found)]
    lines = ["| world | model | s | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 3)]
    for trial, found in rows:
        cells = [_spread([numbers.get(name) for numbers in found], 0 if name == "samples" else 3) for name in names]
        lines.append(f"| {trial.world} | {trial.label} | {trial.seconds:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(values: list[float | None], digits: int) -> str:
    """Median, and the range in brackets."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    middle = f"{statistics.median(known):.{digits}f}"
    return middle if len(known) == 1 else f"{middle} ({min(known):.{digits}f} to {max(known):.{digits}f})"


def _check(trial: Trial, found: list[Numbers], say: Callable[[str], None]) -> bool:
    reached = True
    for sign, targets in ((1, trial.least), (-1, trial.most)):
        for name, target in targets.items():
            known = [numbers[name] for numbers in found if name in numbers]
            good = len(known) == len(found) and sign * statistics.median(known) >= sign * target
            bound = "at least" if sign > 0 else "at most"
            say(f"- {'reached' if good else 'MISSED '}: {trial.world}, {name} {bound} {target:g}: {_spread(list(known), 4)}")
            reached &= good
    return reached
