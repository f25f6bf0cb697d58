"""A predictor on its own predictions: how far its dreams can be believed. See worldmodel/evaluate.py."""

from collections.abc import Iterator

import numpy as np

from worldmodel.batch import Batch
from worldmodel.scores.cases import Tally
from worldmodel.scores.intervals import Bootstrap
from worldmodel.scores.pixels import mse, psnr
from worldmodel.scores.place import Marker
from worldmodel.scores.probe import Array, Images, IntArray, Predictor, chunks
from worldmodel.scores.results import RolloutReport, RolloutStep

SHOWN = (1, 2, 4, 8, 16)
RADIUS_PX = 5.0
NO_MARKER = "no probe says where the object is"


def score_rollouts(
    predictor: Predictor,
    windows: Batch,
    context: int,
    marker: Marker | None = None,
    radius_px: float = RADIUS_PX,
    groups: IntArray | None = None,
    seed: int = 0,
) -> RolloutReport:
    """Feed predictions back with the true actions, for as many steps as the windows have behind their `context` frames.

    marker: what the position is read of, in predicted and true pictures of the first camera. groups: int [B] for the bootstrap;
    each window by itself when not given. Windows of 64 rollouts of 16 steps of 224x224 take some 170 MB.
    """
    count = len(windows)
    groups = np.arange(count) if groups is None else groups
    tally = Tally()
    last = {name: array[:, context - 1 : context] for name, array in windows.frames.items()}
    for rows in chunks(count, 1, windows.frames):
        steps = Tally()
        part = Batch({name: array[rows] for name, array in windows.frames.items()}, windows.actions[rows])
        seen = {name: array[rows] for name, array in last.items()}
        for predicted, truth in roll(predictor, part, context):
            steps.take({name: array[None] for name, array in _step(predicted, truth, seen, marker).items()})
        tally.take({name: steps[name].swapaxes(0, 1) for name in steps.names("")})  # [n, H]
    boot = Bootstrap(groups, seed)
    result = [_result(tally, boot, step) for step in range(tally["error"].shape[1])]
    valid, ended = _valid(result, radius_px)
    return RolloutReport(count, boot.groups, result, valid, ended, {} if marker is not None else {"place": NO_MARKER})


def roll(predictor: Predictor, windows: Batch, context: int) -> Iterator[tuple[Images, Images]]:
    """(predicted, true) pictures [n, 1, H, W, 3] of each step, the true actions given and its own pictures seen."""
    seen = {name: array[:, :context] for name, array in windows.frames.items()}
    for step in range(windows.actions.shape[1] - context + 1):
        actions = windows.actions[:, step : step + context]
        predicted = predictor.predict_batch(seen, actions[:, :-1], actions[:, -1:])
        yield predicted, {name: array[:, context + step : context + step + 1] for name, array in windows.frames.items()}
        seen = {name: np.concatenate((array[:, 1:], predicted[name]), axis=1) for name, array in seen.items()}


def _step(predicted: Images, truth: Images, last: Images, marker: Marker | None) -> dict[str, Array]:
    """Numbers of one step, each [n]."""
    out: dict[str, Array] = {"error": mse(predicted, truth)[:, 0], "copy": mse(last, truth)[:, 0]}
    if marker is None:
        return out
    camera = next(iter(truth))
    height, width = truth[camera].shape[-3:-1]
    real, ours = marker.weight(truth[camera][:, 0]), marker.weight(predicted[camera][:, 0])
    away = marker.away(marker.place(ours), marker.place(real), height, width)
    shown = real.sum(axis=(-2, -1)) > 0
    return out | {
        "px": np.where(shown, np.where(np.isnan(away), np.inf, away), np.nan),
        "mass": np.where(shown, ours.sum(axis=(-2, -1)), np.nan),
        "mass/truth": np.where(shown, real.sum(axis=(-2, -1)), np.nan),
    }


def _result(tally: Tally, boot: Bootstrap, step: int) -> RolloutStep:
    error, copy = tally["error"][:, step].astype(np.float64), tally["copy"][:, step].astype(np.float64)
    mean, skill = float(error.mean()), boot.skill(error, copy)
    if "px" not in tally or np.isnan(away := tally["px"][:, step]).all():
        return RolloutStep(step + 1, mean, psnr(mean), float(copy.mean()), skill)
    median = float(np.nanmedian(away))
    hit = np.where(np.isnan(away), np.nan, away <= 3.0)
    return RolloutStep(
        step + 1, mean, psnr(mean), float(copy.mean()), skill, median if np.isfinite(median) else None,
        boot.ratio(hit), boot.ratio(tally["mass"][:, step], tally["mass/truth"][:, step]),
    )  # fmt: skip


def _valid(steps: list[RolloutStep], radius_px: float) -> tuple[int, str | None]:
    for done, step in enumerate(steps):
        if step.hit is not None and (step.median_px is None or step.median_px > radius_px):
            return done, "position"
        if step.skill is not None and step.skill.value < 0:
            return done, "skill over copy last"
    return len(steps), None
