"""Scores that mean something, always beside a baseline. numpy only.

Images are compared in [0, 1]. Skill is 1 - MSE(model) / MSE(baseline): 1 is perfect, 0 is no better than
the baseline. Baselines: copying the last frame; the best a model can do that cannot see the action (the
mean over the actions of the true next frames); the successor of the most similar training state.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from worldmodel.batch import Batch

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]
Images = dict[str, UInt8Array]

HIT_PX = 3.0
CHUNK_BYTES = 1 << 21  # of predicted pixels at a time: a full probe of floats would not fit small machines


class Predictor(Protocol):
    """What is scored: FramePredictor, or a hand-made one."""

    def predict_batch(self, frames: Images, past_actions: FloatArray, candidates: FloatArray) -> Images:
        """Histories [B, C, H, W, 3], [B, C - 1, D], candidates [B or 1, A, D] -> {camera: uint8 [B, A, H, W, 3]}."""
        ...


@dataclass(frozen=True)
class Probe:
    """N states with the truth of every action.

    frames {camera: uint8 [N, C, H, W, 3]} and past_actions float32 [N, C - 1, D] lead to each state;
    candidates float32 [A, D] are tried; next {camera: uint8 [N, A, H, W, 3]} is what would follow.
    position: float32 [N, A, 2], (x, y) in pixels of the object in the first camera, on a torus; or None.
    """

    frames: Images
    past_actions: FloatArray
    candidates: FloatArray
    next: Images
    position: FloatArray | None = None


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
    hit_at_3px: how often the predicted centroid is within 3 px of the true position.
    """
    count, actions = len(probe.past_actions), len(probe.candidates)
    right = hits = 0
    errors, copy, blind = [], [], []
    for part in _chunks(count, actions, probe.next):
        frames = {name: array[part] for name, array in probe.frames.items()}
        truth = {name: array[part] for name, array in probe.next.items()}
        predicted = predictor.predict_batch(frames, probe.past_actions[part], probe.candidates[None])
        pairs = np.stack([_mse(predicted, _outcome(truth, b)) for b in range(actions)], axis=-1)  # [n, A, A]
        right += int((pairs.argmin(axis=-1) == np.arange(actions)).sum())
        errors.append(np.diagonal(pairs, axis1=1, axis2=2))
        copy.append(_mse({name: array[:, -1:] for name, array in frames.items()}, truth))
        blind.append(_mse({name: array.mean(axis=1, keepdims=True, dtype=np.float32) for name, array in truth.items()}, truth))
        if probe.position is not None:
            hits += int(_hits(next(iter(predicted.values())), probe.position[part]).sum())
    error, copied = _mean(errors), _mean(copy)
    return Scores(
        cf_accuracy=right / (count * actions),
        hit_at_3px=None if probe.position is None else hits / (count * actions),
        skill_copy_last=_skill(error, copied),
        skill_action_blind=_skill(error, _mean(blind)),
        prediction_error=error,
        copy_last_error=copied,
    )


def score_transitions(predictor: Predictor, batch: Batch, train: Batch | None = None) -> Scores:
    """Score where only what really happened is known: B windows of context + 1 frames.

    With a sample of training windows, the nearest neighbour is scored too: the successor of the training
    state whose last two frames and action are nearest. All of `train` is held as float32: give a sample.
    """
    errors, copy, near = [], [], []
    search = None if train is None else NearestNeighbour(train)
    for part in _chunks(len(batch), 1, batch.frames):
        frames = {name: array[part, :-1] for name, array in batch.frames.items()}
        truth = {name: array[part, -1:] for name, array in batch.frames.items()}
        actions = batch.actions[part]
        predicted = predictor.predict_batch(frames, actions[:, :-1], actions[:, -1:])
        errors.append(_mse(predicted, truth))
        copy.append(_mse({name: array[:, -1:] for name, array in frames.items()}, truth))
        if search is not None:
            near.append(_mse(search(frames, actions[:, -1]), truth))
    error, copied = _mean(errors), _mean(copy)
    neighbour = _mean(near) if near else None
    return Scores(
        cf_accuracy=None,
        hit_at_3px=None,
        skill_copy_last=_skill(error, copied),
        skill_action_blind=None,
        prediction_error=error,
        copy_last_error=copied,
        skill_nearest_neighbour=None if neighbour is None else _skill(error, neighbour),
        nearest_neighbour_error=neighbour,
    )


class NearestNeighbour:
    """Retrieval baseline: the successor of the most similar training state.

    Distance: squared pixel difference of the two newest frames in [0, 1], plus that of the action scaled
    so that one standard deviation of each number counts as much as a hundredth of the pixels.
    """

    def __init__(self, train: Batch) -> None:
        self._train = train
        self._scale = 1.0 / np.maximum(np.nan_to_num(train.actions[:, -1]).std(axis=0), 1e-3)
        self._known = self._describe({n: a[:, :-1] for n, a in train.frames.items()}, train.actions[:, -1])
        self._norm = np.square(self._known).sum(axis=1)

    def _describe(self, frames: Images, action: FloatArray) -> FloatArray:
        parts = [array[:, -2:].reshape(len(array), -1).astype(np.float32) / 255.0 for array in frames.values()]
        pixels = np.concatenate(parts, axis=1)
        told = np.nan_to_num(action) * self._scale * np.sqrt(pixels.shape[1] / 100.0)
        return np.concatenate((pixels, told.astype(np.float32)), axis=1)

    def __call__(self, frames: Images, action: FloatArray) -> Images:
        """Histories [B, C, H, W, 3] and the action taken [B, D] -> retrieved {camera: uint8 [B, 1, H, W, 3]}."""
        wanted = self._describe(frames, action)
        nearest = (self._norm[None] - 2.0 * wanted @ self._known.T).argmin(axis=1)
        return {name: array[nearest, -1:] for name, array in self._train.frames.items()}


def torus_position(image: np.ndarray[Any, Any]) -> FloatArray:
    """Centroid (x, y) in pixels of images [..., H, W, 3] on a torus; NaN for a black image.

    Intensity-weighted circular mean: theta = atan2(sum I sin(2 pi x / W), sum I cos(2 pi x / W)).
    """
    light = image.sum(axis=-1, dtype=np.float64)
    columns, rows = _circular_mean(light.sum(axis=-2)), _circular_mean(light.sum(axis=-1))
    return np.stack((columns, rows), axis=-1).astype(np.float32)


def _circular_mean(weight: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    size = weight.shape[-1]
    angle = 2.0 * np.pi * np.arange(size) / size
    theta = np.arctan2((weight * np.sin(angle)).sum(axis=-1), (weight * np.cos(angle)).sum(axis=-1))
    place = size * theta / (2.0 * np.pi) % size
    return np.asarray(np.where(weight.sum(axis=-1) > 0, place, np.nan))


def _hits(image: UInt8Array, position: FloatArray) -> np.ndarray[Any, Any]:
    """Which images [..., H, W, 3] have their centroid within HIT_PX of position [..., 2]; black ones miss."""
    size = np.asarray((image.shape[-2], image.shape[-3]), dtype=np.float64)
    away = np.abs(torus_position(image) - position) % size
    away = np.minimum(away, size - away)
    return np.asarray(np.hypot(away[..., 0], away[..., 1]) <= HIT_PX)


def _outcome(truth: Images, action: int) -> Images:
    return {name: array[:, action : action + 1] for name, array in truth.items()}


def _mse(ours: dict[str, np.ndarray[Any, Any]], truth: Images) -> FloatArray:
    """Mean squared error in [0, 1] over all pixels of all cameras: [n, A] (either A may be 1)."""
    total: Any = 0.0
    for name, array in truth.items():
        difference = ours[name].astype(np.float32) - array
        total = total + np.einsum("nahwc,nahwc->na", difference, difference)
    pixels = sum(array[0, 0].size for array in truth.values())
    return np.asarray(total / (pixels * 255.0**2), np.float32)


def _mean(parts: list[FloatArray]) -> float:
    return float(np.concatenate([part.ravel() for part in parts]).mean(dtype=np.float64))


def _skill(error: float, baseline: float) -> float | None:
    """None when the baseline is perfect: nothing changes, so nothing can be better."""
    return 1.0 - error / baseline if baseline > 0 else None


def _chunks(count: int, actions: int, images: Images) -> list[slice]:
    each = actions * sum(int(np.prod(array.shape[-3:])) for array in images.values())
    size = max(1, CHUNK_BYTES // each)
    return [slice(start, start + size) for start in range(0, count, size)]
