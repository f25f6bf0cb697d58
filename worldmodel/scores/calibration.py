"""Does the model know how wrong it is? Of a normal distribution (mean, std) a prediction. numpy only.

Two random variables are judged, because they answer two questions.

- One number of the picture, x ~ N(m, s^2): is each pixel's spread right? Asked only where something is at stake, that is
  where the truth or the mean differs from the last frame (by more than 8/255, and 3 px around), or the spread exceeds
  8/255: the still background would cover itself, whatever the model says. What truly changed is among them, so a
  model that is sure of stillness and wrong pays for it.
- The error of the whole frame: log e ~ N(a + b log u, c^2), where e is the root mean squared error of the mean picture
  and u the root mean square of its spread over all pixels. u is what exploration ranks by. a, b and c are fitted to
  validation data and judged on others: coverage then says whether "this frame's error lies between" can be
  believed. A forecast that is always the same can be covered too, so its sharpness is reported beside it: the
  skill of its CRPS over the same forecast without u, and the rank correlation of u and e.
"""

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from worldmodel.scores.intervals import Figure
from worldmodel.scores.probe import Array

LEVELS = np.arange(0.05, 1.0, 0.05)
FLOOR = 1.0 / 255.0  # a picture is rounded to grey levels: no spread can be smaller
KNOTS = np.linspace(0.0, 1.0, 41)


@dataclass(frozen=True)
class Spreads:
    """What a model said of N frames and what came. Frames: error, std float64 [N] (roots of mean squares in [0, 1]).

    Of K numbers of the pictures: value, mean, spread float64 [K], in [0, 1]. groups int [N] for intervals.
    """

    error: Array
    std: Array
    value: Array
    mean: Array
    spread: Array
    groups: Array


class Recalibration(msgspec.Struct, frozen=True):
    """Fitted to validation data alone. `temperature` multiplies every spread; `quantiles` are where the fitted ones of 0 to 1
    (evenly spaced) truly lie; `frame` is (a, b, c) of log e ~ N(a + b log u, c^2), and `frame_quantiles` where its own truly
    lie (Kuleshov et al. 2018); `plain` the same without u, (a, c).
    """

    temperature: float
    quantiles: list[float]
    frame: tuple[float, float, float]
    frame_quantiles: list[float]
    plain: tuple[float, float]


class PixelCalibration(msgspec.Struct, frozen=True):
    numbers: int
    nll: float
    crps: float
    coverage_error: float


class FrameCalibration(msgspec.Struct, frozen=True):
    """`error_to_std`: root of mean e^2 over mean u^2, 1 when the spread is as large as the error. `ause` is 0 for a perfect order of
    the frames, `ause_random` what no order at all gives; both in units of the mean error.
    """

    frames: int
    error_to_std: float
    spearman: Figure | None
    ause: float
    ause_random: float
    coverage_error: float | None = None
    crps_skill: float | None = None


class Calibration(msgspec.Struct, frozen=True):
    """`raw` is what the model itself says; `recalibrated` after a fit to validation data; None without such."""

    raw: PixelCalibration | None
    recalibrated: PixelCalibration | None
    frame: FrameCalibration
    auroc_novel: float | None = None


def nll(x: Array, mean: Array, std: Array) -> Array:
    """1/2 log(2 pi s^2) + (x - m)^2 / 2 s^2."""
    return np.asarray(0.5 * np.log(2.0 * np.pi * std**2) + (x - mean) ** 2 / (2.0 * std**2))


def crps(x: Array, mean: Array, std: Array) -> Array:
    """Of a normal distribution: s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (x - m) / s."""
    z = (x - mean) / std
    density = np.exp(-0.5 * z**2) / math.sqrt(2.0 * math.pi)
    return np.asarray(std * (z * (2.0 * cdf(z) - 1.0) + 2.0 * density - 1.0 / math.sqrt(math.pi)))


def cdf(z: Array) -> Array:
    """Of the standard normal distribution."""
    import torch

    return np.asarray(torch.special.ndtr(torch.from_numpy(np.ascontiguousarray(z, np.float64))))


def coverage_error(quantile: Array) -> float:
    """Mean over p of |P[x in the central p-interval] - p|, from where each x lies in its distribution (0 to 1)."""
    apart = np.abs(quantile - 0.5)
    return float(np.mean([abs(float((apart <= p / 2.0).mean()) - p) for p in LEVELS]))


def ranks(values: Array) -> Array:
    """1 to n, ties share their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2.0)[place])


def spearman(a: Array, b: Array) -> float | None:
    """Correlation of ranks; None where one of them never differs."""
    x, y = ranks(a), ranks(b)
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def ause(std: Array, error: Array) -> tuple[float, float]:
    """(area between the mean error left when the frames of largest std are taken away and that of the largest error,
    the same without any order), over all shares taken away, in units of the mean error.
    """

    def left(order: Array) -> Array:
        kept = error[order][::-1]  # those that go last first
        return np.asarray((np.cumsum(kept) / np.arange(1, len(kept) + 1))[::-1])

    mean = max(float(error.mean()), 1e-12)
    best = left(np.argsort(-error, kind="stable"))
    ours = left(np.argsort(-std, kind="stable"))
    return float((ours - best).mean() / mean), float((mean - best).mean() / mean)


def auroc(novel: Array, seen: Array) -> float | None:
    """P[a novel frame's std is above a seen one's], ties count half; None without both."""
    if not len(novel) or not len(seen):
        return None
    both = ranks(np.concatenate((novel, seen)))[: len(novel)].sum()
    return float((both - len(novel) * (len(novel) + 1) / 2.0) / (len(novel) * len(seen)))


def fit(valid: Spreads) -> Recalibration:
    """From validation frames; raises ValueError of fewer than 8."""
    if len(valid.error) < 8 or not len(valid.value):
        raise ValueError(f"{len(valid.error)} validation frames are too few to recalibrate with: give at least 8")
    spread = np.maximum(valid.spread, FLOOR)
    temperature = float(np.sqrt(np.mean(((valid.value - valid.mean) / spread) ** 2)))  # the likeliest one
    temperature = max(temperature, 1e-3)
    quantile = cdf((valid.value - valid.mean) / (spread * temperature))
    log_error, log_std = _logs(valid)
    slope = 0.0
    if log_std.std() > 1e-9:
        slope = float(np.cov(log_std, log_error, bias=True)[0, 1] / log_std.var())
    start = float(log_error.mean() - slope * log_std.mean())
    rest = float(max((log_error - start - slope * log_std).std(), 1e-6))
    return Recalibration(
        temperature=temperature,
        quantiles=_where_they_lie(quantile),
        frame=(start, slope, rest),
        frame_quantiles=_where_they_lie(cdf((log_error - start - slope * log_std) / rest)),
        plain=(float(log_error.mean()), float(max(log_error.std(), 1e-6))),
    )


def _where_they_lie(quantile: Array) -> list[float]:
    """Of the fitted quantiles KNOTS, the true ones."""
    share = np.searchsorted(np.sort(quantile), KNOTS[1:-1], side="right") / len(quantile)
    return [0.0, *share.tolist(), 1.0]


def calibration(test: Spreads, fitted: Recalibration | None, seed: int = 0, seen_std: Array | None = None) -> Calibration:
    """`fitted`: from other frames than these. `seen_std`: frames' std of states that were trained on, for the AUROC."""
    spread = np.maximum(test.spread, FLOOR)
    raw = _pixels(test.value, test.mean, spread, None)
    again = None
    if fitted is not None:
        again = _pixels(test.value, test.mean, spread * fitted.temperature, np.asarray(fitted.quantiles))
    return Calibration(raw, again, _frame(test, fitted, seed), None if seen_std is None else auroc(test.std, seen_std))


def _pixels(value: Array, mean: Array, spread: Array, quantiles: Array | None) -> PixelCalibration | None:
    if not len(value):
        return None
    quantile = cdf((value - mean) / spread)
    if quantiles is not None:
        quantile = np.interp(quantile, KNOTS, quantiles)
    return PixelCalibration(
        len(value), float(nll(value, mean, spread).mean()), float(crps(value, mean, spread).mean()), coverage_error(quantile)
    )


def _frame(test: Spreads, fitted: Recalibration | None, seed: int) -> FrameCalibration:
    ours, random = ause(test.std, test.error)
    ratio = float(np.sqrt(np.mean(test.error**2) / max(float(np.mean(test.std**2)), 1e-18)))
    covered = skill = None
    if fitted is not None:
        log_error, log_std = _logs(test)
        (start, slope, rest), (mean, plain) = fitted.frame, fitted.plain
        told = start + slope * log_std
        covered = coverage_error(np.interp(cdf((log_error - told) / rest), KNOTS, fitted.frame_quantiles))
        without = float(crps(log_error, np.full_like(told, mean), np.full_like(told, plain)).mean())
        skill = 1.0 - float(crps(log_error, told, np.full_like(told, rest)).mean()) / max(without, 1e-12)
    return FrameCalibration(len(test.error), ratio, _spearman_figure(test, seed), ours, random, covered, skill)


def _logs(spreads: Spreads) -> tuple[Array, Array]:
    floor = FLOOR / 255.0
    return np.log(np.maximum(spreads.error, floor)), np.log(np.maximum(spreads.std, floor))


def _spearman_figure(test: Spreads, seed: int, rounds: int = 200) -> Figure | None:
    value = spearman(test.std, test.error)
    if value is None:
        return None
    names, group = np.unique(test.groups, return_inverse=True)
    if len(names) < 2:
        return Figure(value)
    random = np.random.default_rng(seed)
    rows = [np.flatnonzero(group == number) for number in range(len(names))]
    drawn = []
    for _ in range(rounds):
        picks = np.concatenate([rows[number] for number in random.integers(len(rows), size=len(rows))])
        drawn.append(spearman(test.std[picks], test.error[picks]))
    known = [one for one in drawn if one is not None]
    low, high = np.percentile(known, (2.5, 97.5)) if known else (value, value)
    return Figure(value, float(low), float(high))
