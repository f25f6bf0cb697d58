"""From numbers per case to results with intervals. numpy only."""

from dataclasses import dataclass
from typing import cast

import numpy as np

from worldmodel.scores.baselines import NearestNeighbour, copy_last, linear, mean_frame, spread
from worldmodel.scores.calibration import Calibration, Recalibration, calibration, fit
from worldmodel.scores.cases import COPY, Tally, spreads
from worldmodel.scores.intervals import Bootstrap, Figure
from worldmodel.scores.pixels import Pictures, psnr
from worldmodel.scores.probe import Array, Blind, FloatArray, Images, IntArray, Predictor, Spreader
from worldmodel.scores.results import Pixels, Place, Reference, SomeCases
from worldmodel.source import Source

LINEAR, MEAN, NEAREST, TWIN, OPTIMUM = "linear", "mean frame", "nearest neighbour", "blind twin", "blind optimum"
MEAN_FRAMES = 512

NO_TRAINING = "needs the transitions that were learned from"
NO_TWIN = "needs a checkpoint that was trained without actions: --twin"
NO_SPREAD = "the model has no ensemble: it does not say how sure it is"


@dataclass(frozen=True)
class Baselines:
    """Those that come from training data or from another model; None where there is none."""

    mean: Pictures | None = None
    nearest: NearestNeighbour | None = None
    twin: Predictor | None = None

    @classmethod
    def of(cls, train: Source | None = None, ids: IntArray | None = None, twin: Predictor | None = None) -> "Baselines":
        """From the transitions that were learned from (`ids`: some of them), and a model trained without actions."""
        blind = None if twin is None else Blind(twin)
        if train is None:
            return cls(twin=blind)
        ids = train.ids() if ids is None else ids
        if not len(ids):
            return cls(twin=blind)
        return cls(mean_frame(train, spread(ids, MEAN_FRAMES)), NearestNeighbour(train, ids), blind)

    def pictures(self, frames: Images, past: FloatArray, tried: FloatArray, nearest: bool = True) -> dict[str, Pictures]:
        """What each says of histories [n, C, H, W, 3] and actions [n or 1, A, D], by name."""
        out: dict[str, Pictures] = {COPY: dict(copy_last(frames)), LINEAR: linear(frames)}
        if self.mean is not None:
            out[MEAN] = self.mean
        if self.nearest is not None and nearest:
            out[NEAREST] = dict(self.nearest(frames, tried))
        if self.twin is not None:
            out[TWIN] = dict(self.twin.predict_batch(frames, past, tried))
        return out

    def missing(self) -> dict[str, str]:
        """Which are not there, and why."""
        out = {} if self.mean is not None else {MEAN: NO_TRAINING}
        out |= {} if self.nearest is not None else {NEAREST: NO_TRAINING}
        return out | ({} if self.twin is not None else {TWIN: NO_TWIN})


@dataclass(frozen=True)
class Uncertainty:
    """The predictor, where it has an ensemble; a recalibration fitted to other data (None: the earlier half of the groups is for fitting,
    the later for judging); and the frames' std of states that were trained on, for the AUROC.
    """

    predictor: Spreader
    fitted: Recalibration | None = None
    seen_std: Array | None = None


def pixels_of(tally: Tally, boot: Bootstrap, select: Array | None = None) -> Pixels:
    """Of gathered `pixel_cases`; `select` bool [N, A] leaves the others out."""

    def of(name: str) -> Array:
        array = np.broadcast_to(tally[name], tally["error"].shape).astype(np.float64)
        return array if select is None else np.where(select, array, np.nan)

    error, changed, size = of("error"), of("changed"), of("size")
    numbers = float(np.nansum(size))
    references = [
        Reference(
            name, mse := float(np.nanmean(of(f"error/{name}"))), psnr(mse),
            float(np.nanmean(of(f"ssim/{name}"))) if f"ssim/{name}" in tally else None,
            boot.skill(error, of(f"error/{name}")), boot.skill(changed, of(f"changed/{name}")),
        )
        for name in tally.names("error/")
    ]  # fmt: skip
    rivals = [one for one in references if one.name != OPTIMUM and one.skill is not None]
    least = min(rivals, key=lambda one: one.skill.value if one.skill else 0.0, default=None)
    mean = float(np.nanmean(error))
    return Pixels(
        cases=int((~np.isnan(error)).sum()), mse=mean, psnr=psnr(mean),
        ssim=float(np.nanmean(of("ssim"))) if "ssim" in tally else None,
        changed_mse=float(np.nansum(changed)) / numbers if numbers else None,
        changed_share=float(np.nanmean(size)) / float(tally["numbers"][0]),
        references=references,
        headline=boot.least(error, [of(f"error/{one.name}") for one in rivals]) if rivals else None,
        headline_over=least.name if least else None,
    )  # fmt: skip


def place_of(tally: Tally, boot: Bootstrap) -> Place | None:
    """Of gathered `place_cases`; None where no truth shows the object."""
    seen = ~np.isnan(tally["hit"])
    if not seen.any():
        return None
    away, read = tally["px"][seen], tally["px/truth"][seen]
    far = np.where(np.isnan(away), np.inf, away)  # a picture that shows nothing is as wrong as can be
    return Place(
        cases=int(seen.sum()),
        median_px=_finite(np.median(far)), p95_px=_finite(np.percentile(far, 95, method="higher")),
        oracle_median_px=_finite(np.median(read)), oracle_p95_px=_finite(np.percentile(read, 95, method="higher")),
        hit=boot.ratio(tally["hit"]), mass=boot.ratio(tally["mass"], tally["mass/truth"]),
        peak=float(tally["peak"][seen].mean()), ghost=boot.ratio(tally["ghost"]),
        lost=float(np.isnan(away).mean()),
    )  # fmt: skip


def some_cases(name: str, tally: Tally, boot: Bootstrap, select: Array) -> SomeCases | None:
    """The main scores where `select` bool [N, A] says; None where that is nowhere."""
    if not select.any():
        return None

    def of(what: str) -> Array:
        return np.where(select, np.broadcast_to(tally[what], select.shape), np.nan)

    mean = float(np.nanmean(of("error")))
    return SomeCases(
        name, int(select.sum()), mean, psnr(mean), boot.skill(of("error"), of(f"error/{COPY}")),
        boot.ratio(of("nearest")) if "nearest" in tally else None, boot.ratio(of("hit")) if "hit" in tally else None,
    )  # fmt: skip


def calibrated(tally: Tally, groups: IntArray, uncertainty: Uncertainty, seed: int) -> Calibration | None:
    """Of gathered `spread_cases`; None where every spread is 0."""
    frame, stakes = tally["frame"], tally["stakes"]
    if not float(frame[..., 1].max()) > 0:
        return None
    fitted, rows = uncertainty.fitted, cast("Array | slice", slice(None))
    if fitted is None:
        order = np.unique(groups, return_inverse=True)[1]
        early = order < (order.max() + 1) // 2
        if early.any():
            try:
                fitted, rows = fit(spreads(frame, stakes, groups, early)), ~early
            except ValueError:  # too few to fit: what the model says raw is judged on all
                rows = slice(None)
    return calibration(spreads(frame, stakes, groups, rows), fitted, seed, uncertainty.seen_std)


def decibels(right: Array, other: Array) -> float | None:
    """PSNR with the right action less PSNR with another, of errors per case."""
    a, b = psnr(float(np.nanmean(right))), psnr(float(np.nanmean(other)))
    return None if a is None or b is None else a - b


def value(figure: Figure | None) -> float | None:
    return None if figure is None else figure.value


def _finite(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
