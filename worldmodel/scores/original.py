"""The figures that the original system reported, by its definitions, so that results can stand beside its own. numpy only.

They are kept for comparison, not as a goal: its loss was taken over frames that were mostly trained on, and its
divergence has no ground truth (a model that answers every action with another kind of garbage scores high).
"""

from itertools import combinations

import msgspec
import numpy as np

from worldmodel.scores.probe import Array, Images

ALPHA, BETA = 0.1, 5.0  # as of February 2026
BINS = 30
OBSERVATIONS = 30  # that the divergence is measured on
LARGE, SMALL = 5, 1  # grey levels


class Losses(msgspec.Struct, frozen=True):
    """Statistics over observations."""

    mean: float
    median: float
    std: float
    min: float
    max: float
    percentiles: dict[str, float]
    counts: list[int]
    edges: list[float]


class LossFigures(msgspec.Struct, frozen=True):
    """`standard` is the plain mean squared error, `hybrid` = alpha * plain + (1 - alpha) * focal, over the last frame's pixels."""

    observations: int
    alpha: float
    beta: float
    hybrid: Losses
    standard: Losses


class PairDivergence(msgspec.Struct, frozen=True):
    """Of two actions, over observations: mean absolute differences in grey levels, and the share of pixels that differ."""

    actions: tuple[int, int]
    mean: float
    std: float
    max: float
    changed_pixels: float
    changed_percent: float


class Divergence(msgspec.Struct, frozen=True):
    """`overall_mean_divergence` is the original's number, 0 to 255; `per_motion` divides it by how much truly moves in a step."""

    observations: int
    overall_mean_divergence: float
    pairs: list[PairDivergence]
    per_motion: float | None = None


def hybrid_loss(ours: Images, truth: Images, alpha: float = ALPHA, beta: float = BETA) -> tuple[Array, Array]:
    """(hybrid, plain) of each case, float64 [n], of pictures [n, 1, H, W, 3].

    e = (ours - truth)^2 of each number in [0, 1]; w = exp(beta e); focal = sum(w e) / (sum(w) + 1e-8), of each observation
    by itself. Predictions are rounded to grey levels, which changes the plain loss by at most 2e-6.
    """
    parts = [(ours[name].astype(np.float32) - array).reshape(len(array), -1) / np.float32(255.0) for name, array in truth.items()]
    square = np.square(np.concatenate(parts, axis=1))
    plain = square.mean(axis=1, dtype=np.float64)
    if beta <= 0:
        return plain, plain
    weight = np.exp(beta * square)
    focal = (weight * square).sum(axis=1, dtype=np.float64) / (weight.sum(axis=1, dtype=np.float64) + 1e-8)
    return alpha * plain + (1.0 - alpha) * focal, plain


def loss_figures(hybrid: Array, plain: Array, alpha: float = ALPHA, beta: float = BETA) -> LossFigures | None:
    """Statistics of the losses of each observation [n]; None of none."""
    return LossFigures(len(hybrid), alpha, beta, losses(hybrid), losses(plain)) if len(hybrid) else None


def losses(values: Array) -> Losses:
    counts, edges = np.histogram(values, BINS)
    return Losses(
        mean=float(values.mean()), median=float(np.median(values)), std=float(values.std()),
        min=float(values.min()), max=float(values.max()),
        percentiles={f"p{p}": float(np.percentile(values, p)) for p in (25, 75, 90, 95, 99)},
        counts=counts.tolist(), edges=edges.tolist(),
    )  # fmt: skip


def divergence(predicted: Images, motion: float = 0.0) -> Divergence | None:
    """How far the predictions for the actions lie apart, of uint8 pictures [n, A, H, W, 3]; None of fewer than two actions.

    Of each pair the mean absolute difference over all numbers, its mean, spread and maximum over the observations; the
    number of pixels whose mean over the colours differs by more than 5, and the percentage of those by more than 1.
    motion: mean absolute change of the true pictures in a step, in grey levels.
    """
    count, actions = next(iter(predicted.values())).shape[:2]
    if not count or actions < 2:
        return None
    pairs = []
    for a, b in combinations(range(actions), 2):
        apart = [np.abs(array[:, a].astype(np.int16) - array[:, b]) for array in predicted.values()]
        numbers = sum(array[0].size for array in apart)
        means = sum(array.sum(axis=(1, 2, 3), dtype=np.float64) for array in apart) / numbers
        pixels = np.concatenate([array.mean(axis=-1).reshape(count, -1) for array in apart], axis=1)
        large, small = float((pixels > LARGE).sum(axis=1).mean()), 100.0 * float((pixels > SMALL).mean())
        pairs.append(PairDivergence((a, b), float(means.mean()), float(means.std()), float(means.max()), large, small))
    overall = float(np.mean([pair.mean for pair in pairs]))
    return Divergence(count, overall, pairs, overall / motion if motion > 0 else None)
