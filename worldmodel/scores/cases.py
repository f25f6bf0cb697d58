"""From predictions to numbers per case: every picture is looked at once, here, and only numbers are kept. numpy only."""

import numpy as np

from worldmodel.scores.baselines import copy_last
from worldmodel.scores.calibration import Spreads
from worldmodel.scores.pixels import CHANGED, SSIM_SIDE, Pictures, absolute, changed, dilate, masked_error, masked_size, mse, ssim
from worldmodel.scores.place import Marker
from worldmodel.scores.probe import Array, FloatArray, Images, Spreader

COPY = "copy last"
NUMBERS_A_CASE = 64  # of a picture, that its calibration is judged on


class Tally:
    """Named arrays, gathered a few cases at a time; the first axis is the case."""

    def __init__(self) -> None:
        self._parts: dict[str, list[Array]] = {}

    def add(self, **arrays: Array) -> None:
        self.take(arrays)

    def take(self, arrays: dict[str, Array]) -> None:
        for name, array in arrays.items():
            self._parts.setdefault(name, []).append(np.asarray(array))

    def __contains__(self, name: str) -> bool:
        return name in self._parts

    def __getitem__(self, name: str) -> Array:
        """All of it, in order. Raises KeyError for what was never added."""
        parts = self._parts[name]
        if len(parts) > 1:
            self._parts[name] = parts = [np.concatenate(parts)]
        return parts[0]

    def names(self, prefix: str) -> list[str]:
        """What stands behind the prefix, in the order it came."""
        return [name.removeprefix(prefix) for name in self._parts if name.startswith(prefix)]


def pixel_cases(predicted: Images, truth: Images, last: Images, references: dict[str, Pictures], alike: Array) -> dict[str, Array]:
    """Errors of n states and A actions, each [n, A]: error, changed error, changed size; the same of each reference, behind its name.

    Pictures are [n, A, H, W, 3]; those of a reference may have one for all states or all actions. `alike` bool [n]: the states
    whose SSIM is taken, which is slow; of the others it is NaN.
    """
    masks = changed(last, truth)
    out: dict[str, Array] = {"error": mse(predicted, truth), "changed": masked_error(predicted, truth, masks), "size": masked_size(masks)}
    for name, pictures in references.items():
        out[f"error/{name}"] = mse(pictures, truth)
        out[f"changed/{name}"] = masked_error(pictures, truth, masks)
    for name, pictures in (("ssim", predicted), (f"ssim/{COPY}", last)):
        if min(min(array.shape[-3:-1]) for array in truth.values()) >= SSIM_SIDE:
            out[name] = np.full(out["error"].shape, np.nan, np.float32)
            if alike.any():
                out[name][alike] = ssim(*({camera: array[alike] for camera, array in images.items()} for images in (pictures, truth)))
    return out


def counterfactual_cases(predicted: Images, truth: Images) -> dict[str, Array]:
    """Of n states with the truth of A actions.

    pairs [n, A, A]: error of the prediction for a against the outcome of b. nearest [n, A]: whether the nearest outcome is a's
    (or looks like it); NaN where all outcomes look alike. wrong, apart, told [n]: sums over pairs of actions of
    |(pred_a - pred_b) - (f_a - f_b)|^2, |f_a - f_b|^2; told, true [n] of the absolute differences.
    """
    actions = next(iter(truth.values())).shape[1]
    pairs = np.stack([mse(predicted, one_action(truth, b)) for b in range(actions)], axis=-1)
    between = np.stack([mse(truth, one_action(truth, b)) for b in range(actions)], axis=-1)  # [n, A, A] of the true outcomes
    nearest = pairs.argmin(axis=-1)
    right = np.take_along_axis(between, nearest[..., None], axis=-1)[..., 0] == 0.0
    differ: Array = np.asarray((between > 0).any(axis=(1, 2)))
    out: dict[str, Array] = {"pairs": pairs, "nearest": np.where(differ[:, None], right, np.nan)}
    wrong, apart, told, true = (np.zeros(len(pairs)) for _ in range(4))
    for a in range(actions):
        for b in range(a + 1, actions):
            ours = {name: array[:, a : a + 1].astype(np.int16) - array[:, b : b + 1] for name, array in predicted.items()}
            theirs = {name: array[:, a : a + 1].astype(np.int16) - array[:, b : b + 1] for name, array in truth.items()}
            wrong += mse(ours, theirs)[:, 0]
            apart += between[:, a, b]
            told += absolute(one_action(predicted, a), one_action(predicted, b))[:, 0]
            true += absolute(one_action(truth, a), one_action(truth, b))[:, 0]
    return out | {"wrong": wrong, "apart": apart, "told": told, "true": true}


def place_cases(predicted: Images, truth: Images, position: FloatArray, marker: Marker) -> dict[str, Array]:
    """Of the first camera, each [n, A]: px (distance to the true position; NaN where nothing is shown), px/truth (of the true
    picture: how well it can be read), hit, mass and mass/truth (sums of intensity), peak, ghost, placed (whether the
    nearest position of all outcomes is its own action's). Where the truth shows nothing, all are NaN.
    """
    camera = next(iter(truth))
    height, width = truth[camera].shape[-3:-1]
    real, weight = marker.weight(truth[camera]), marker.weight(predicted[camera])
    here, seen = marker.place(weight), real.sum(axis=(-2, -1)) > 0
    away = marker.away(here[:, :, None], position[:, None], height, width)  # [n, A, A] to every outcome
    own = np.diagonal(away, axis1=1, axis2=2)
    placed = np.where(np.isnan(away), np.inf, away).argmin(axis=-1) == np.arange(own.shape[1])
    mass = weight.sum(axis=(-2, -1))
    out = {
        "px": own,
        "px/truth": marker.away(marker.place(real), position, height, width),
        "hit": (own <= 3.0).astype(np.float64),
        "mass": mass,
        "mass/truth": real.sum(axis=(-2, -1)),
        "peak": weight.max(axis=(-2, -1)),
        "ghost": marker.ghost(weight, position),
        "placed": (placed & (mass > 0)).astype(np.float64),
    }
    return {name: np.where(seen, array, np.nan) for name, array in out.items()}


def spread_cases(
    predictor: Spreader, frames: Images, past: FloatArray, candidates: FloatArray, truth: Images, random: np.random.Generator
) -> dict[str, Array]:
    """What a predictor says of its own error, and the error: frame [n, A, 2] (error, std); stakes [n, K, 3] (value, mean, spread),
    K numbers of the pictures where something is at stake, NaN where there are fewer.
    """
    means, stds = predictor.predict_spread(frames, past, candidates)
    square, variance, numbers = 0.0, 0.0, 0
    parts = []
    for name, last in copy_last(frames).items():
        real = truth[name].astype(np.float32) / np.float32(255.0)
        square = square + np.square(means[name] - real).sum(axis=(-3, -2, -1), dtype=np.float64)
        variance = variance + np.square(stds[name]).sum(axis=(-3, -2, -1), dtype=np.float64)
        numbers += int(np.prod(real.shape[-3:]))
        told = np.abs(means[name] * 255.0 - last).sum(axis=-1) > CHANGED
        true = np.abs(truth[name].astype(np.int16) - last).sum(axis=-1, dtype=np.int32) > CHANGED
        mask = dilate(told | true) | (stds[name].max(axis=-1) * 255.0 > CHANGED)
        n = len(real)
        picked = np.broadcast_to(mask[..., None], real.shape).reshape(n, -1)
        parts.append((picked, np.stack([array.reshape(n, -1) for array in (real, means[name], stds[name])], axis=-1)))
    everywhere: list[Array] = [np.concatenate(both, axis=1) for both in zip(*parts, strict=True)]
    frame = np.sqrt(np.stack([square, variance], axis=-1) / numbers)
    return {"frame": frame, "stakes": np.stack([_sample(v, p, random) for p, v in zip(*everywhere, strict=True)])}


def spreads(frame: Array, stakes: Array, groups: Array, rows: Array | slice = slice(None)) -> Spreads:
    """Of gathered `spread_cases`; `rows` says of which states."""
    actions = frame.shape[1]
    flat, every = frame[rows].reshape(-1, 2), stakes[rows].reshape(-1, 3)
    known = every[~np.isnan(every[:, 0])].astype(np.float64)
    return Spreads(flat[:, 0], flat[:, 1], known[:, 0], known[:, 1], known[:, 2], np.repeat(groups[rows], actions))


def one_action(images: Images, action: int) -> Images:
    return {name: array[:, action : action + 1] for name, array in images.items()}


def _sample(values: Array, picked: Array, random: np.random.Generator) -> Array:
    """[P, 3] -> [K, 3], filled up with NaN."""
    places = np.flatnonzero(picked)
    if len(places) > NUMBERS_A_CASE:
        places = random.choice(places, NUMBERS_A_CASE, replace=False)
    out = np.full((NUMBERS_A_CASE, 3), np.nan, np.float32)
    out[: len(places)] = values[places]
    return out
