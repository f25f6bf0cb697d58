"""Scores that mean something, always beside a baseline. Images are compared in [0, 1].

While a run learns, the trainer asks for a few numbers, fast and without torch:

    score_probe(predictor, probe)             against the truth of every action
    score_transitions(predictor, batch)       where only what really happened is known

Everything else, with intervals, is for afterwards; results are typed (worldmodel/scores/results.py) and msgspec writes them as JSON:

    baselines = Baselines.of(train, twin=blind_predictor)             # train: a Source, such as Arrays; both may be missing
    score_states(predictor, probe, baselines)                         # -> StateReport: N states with the truth of every action
    score_windows(predictor, source, ids, spec.actions, baselines)    # -> WindowReport: recorded transitions
    score_rollouts(predictor, source.windows(ids, 16), spec.context, Marker())   # -> RolloutReport: 16 steps on its own predictions

`groups` says what the bootstrap draws together: the sessions of states (rows of the dot world), `groups_of(episode, second)` of
recordings. Of a predictor with an ensemble, `uncertainty` judges the calibration;
`ActionInference` (worldmodel/scores/inference.py, with torch) reads actions. docs/evaluation.md has every formula.
"""

from dataclasses import dataclass

import numpy as np

from worldmodel.batch import Batch
from worldmodel.scores.baselines import NearestNeighbour, copy_last
from worldmodel.scores.calibration import Recalibration, Spreads, calibration, fit
from worldmodel.scores.intervals import Bootstrap, Figure, groups_of
from worldmodel.scores.pixels import mse
from worldmodel.scores.place import Marker, marker_of, torus_position
from worldmodel.scores.probe import Array, FloatArray, Images, Predictor, Probe, UInt8Array, chunks
from worldmodel.scores.results import RolloutReport, StateReport, WindowReport
from worldmodel.scores.rollouts import score_rollouts
from worldmodel.scores.states import probe_spreads, score_states
from worldmodel.scores.summary import Baselines, Uncertainty
from worldmodel.scores.transitions import score_windows, window_spreads

__all__ = [
    "Baselines",
    "Bootstrap",
    "Figure",
    "Marker",
    "NearestNeighbour",
    "Predictor",
    "Probe",
    "Recalibration",
    "RolloutReport",
    "Scores",
    "Spreads",
    "StateReport",
    "Uncertainty",
    "WindowReport",
    "calibration",
    "fit",
    "groups_of",
    "marker_of",
    "probe_spreads",
    "score_probe",
    "score_rollouts",
    "score_states",
    "score_transitions",
    "score_windows",
    "torus_position",
    "window_spreads",
]  # fmt: skip

HIT_PX = 3.0


@dataclass(frozen=True)
class Scores:
    """Results; None where a score does not apply."""

    cf_accuracy: float | None
    hit_at_3px: float | None
    skill_copy_last: float | None
    skill_action_blind: float | None
    prediction_error: float
    copy_last_error: float
    skill_nearest_neighbour: float | None = None
    nearest_neighbour_error: float | None = None


def score_probe(predictor: Predictor, probe: Probe) -> Scores:
    """Score against counterfactual truth.

    CF accuracy: how often the prediction for an action is nearest (MSE) to that action's true outcome.
    hit_at_3px: how often the predicted centroid is within 3 px of the true position. Skill over action-blind is that over the best
    a model can do that cannot see the action: the mean over the actions of the true next frames.
    """
    count, actions = len(probe), len(probe.candidates)
    right = hits = 0
    errors, copy, blind = [], [], []
    for part in probe.parts():
        predicted = predictor.predict_batch(part.frames, part.past_actions, part.candidates[None])
        pairs = np.stack([mse(predicted, _outcome(part.next, b)) for b in range(actions)], axis=-1)  # [n, A, A]
        right += int((pairs.argmin(axis=-1) == np.arange(actions)).sum())
        errors.append(np.diagonal(pairs, axis1=1, axis2=2))
        copy.append(mse(dict(copy_last(part.frames)), part.next))
        blind.append(mse({name: array.mean(axis=1, keepdims=True, dtype=np.float32) for name, array in part.next.items()}, part.next))
        if part.position is not None:
            hits += int(_hits(next(iter(predicted.values())), part.position, marker_of(part)).sum())
    error, copied = _mean(errors), _mean(copy)
    return Scores(
        cf_accuracy=right / (count * actions),
        hit_at_3px=None if probe.position is None else hits / (count * actions),
        skill_copy_last=_skill(error, copied),
        skill_action_blind=_skill(error, _mean(blind)),
        prediction_error=error,
        copy_last_error=copied,
    )


def score_transitions(predictor: Predictor, batch: Batch) -> Scores:
    """Score where only what really happened is known: B windows of context + 1 frames."""
    errors, copy = [], []
    for part in chunks(len(batch), 1, batch.frames):
        frames = {name: array[part, :-1] for name, array in batch.frames.items()}
        truth = {name: array[part, -1:] for name, array in batch.frames.items()}
        actions = batch.actions[part]
        errors.append(mse(predictor.predict_batch(frames, actions[:, :-1], actions[:, -1:]), truth))
        copy.append(mse(dict(copy_last(frames)), truth))
    error, copied = _mean(errors), _mean(copy)
    return Scores(
        cf_accuracy=None,
        hit_at_3px=None,
        skill_copy_last=_skill(error, copied),
        skill_action_blind=None,
        prediction_error=error,
        copy_last_error=copied,
    )


def _hits(image: UInt8Array, position: FloatArray, marker: Marker) -> Array:
    """Which images [..., H, W, 3] have their centroid within HIT_PX of position [..., 2]; those that show nothing miss."""
    away = marker.away(marker.place(marker.weight(image)), position, *image.shape[-3:-1])
    return np.asarray(np.nan_to_num(away, nan=np.inf) <= HIT_PX)


def _outcome(truth: Images, action: int) -> Images:
    return {name: array[:, action : action + 1] for name, array in truth.items()}


def _mean(parts: list[FloatArray]) -> float:
    return float(np.concatenate([part.ravel() for part in parts]).mean(dtype=np.float64))


def _skill(error: float, baseline: float) -> float | None:
    """None when the baseline is perfect: nothing changes, so nothing can be better."""
    return 1.0 - error / baseline if baseline > 0 else None
