"""The reference table of the dot world at 224x224 (radius 5, step 27): what predictors of known faults score, computed independently."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nodes.robot.dot import ToroidalDot
from nodes.trainer.core import cut_probe
from worldmodel.evaluate import Probe, StateReport, score_states

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def probe() -> Probe:
    told = ToroidalDot({"probe_states": 6}, seed=5).probe()
    assert told is not None
    return cut_probe(told[1], context=2)


class Spoiled:
    """Looks the truth up by the last frame, then spoils it."""

    def __init__(self, probe: Probe, spoil: Callable[[Array, Array], Array]) -> None:
        self.table = {probe.frames["top"][i, -1].tobytes(): probe.next["top"][i] for i in range(len(probe))}
        self.spoil = spoil

    def predict_batch(self, frames: dict[str, Array], past_actions: Array, candidates: Array) -> dict[str, Array]:
        last = frames["top"][:, -1]
        truth = np.stack([self.table[image.tobytes()] for image in last])
        return {"top": np.round(self.spoil(truth, last[:, None])).astype(np.uint8)}


def shifted(pixels: int) -> Callable[[Array, Array], Array]:
    return lambda truth, last: np.roll(truth, pixels, axis=-2)


TABLE: list[tuple[str, Callable[[Array, Array], Array], float, float, float, float | None, float, float]] = [
    # what, spoil, MSE, PSNR, SSIM, position error (median; None: undefined), CF accuracy, CF skill
    ("all black", lambda truth, last: np.zeros_like(truth), 0.001614, 27.92, 0.9942, None, 0.5, 0.0),
    ("copy last", lambda truth, last: np.repeat(last, 2, axis=1), 0.001614, 27.92, 0.9942, 13.5, 0.5, 0.0),
    ("ghosts", lambda truth, last: np.repeat(truth.mean(axis=1, keepdims=True), 2, axis=1), 0.000807, 30.93, 0.9930, 13.5, 0.5, 0.0),
    ("2 px off", shifted(2), 0.000797, 30.98, 0.9950, 2.0, 1.0, 0.51),
    ("1 px off", shifted(1), 0.000438, 33.58, 0.9966, 1.0, 1.0, 0.73),
    ("90 % bright", lambda truth, last: truth * 0.9, 0.000016, 47.9, 0.9999, 0.0, 1.0, 0.99),
]


@pytest.mark.parametrize(("spoil", "expected"), [pytest.param(row[1], row[2:], id=row[0]) for row in TABLE])
def test_the_reference_table(probe: Probe, spoil: Callable[[Array, Array], Array], expected: tuple[float | None, ...]) -> None:
    report: StateReport = score_states(Spoiled(probe, spoil), probe)
    mse, psnr, ssim, away, accuracy, skill = expected
    assert report.place is not None and report.counterfactual.accuracy is not None and report.counterfactual.skill is not None
    assert report.pixels.mse == pytest.approx(mse, rel=0.02, abs=1e-6)
    assert report.pixels.psnr == pytest.approx(psnr, abs=0.2)  # brightness is rounded to grey levels
    assert report.pixels.ssim == pytest.approx(ssim, abs=6e-4)
    assert report.place.median_px == (None if away is None else pytest.approx(away, abs=0.1))
    assert report.counterfactual.accuracy.value == pytest.approx(accuracy)
    assert report.counterfactual.skill.value == pytest.approx(skill, abs=0.01)
