"""What training goes down on. A loss is a function from a `Case` to a `Loss`; `TABLE` names them all.

total, parts, samples = combined(case, {"changed": 1.0, "inverse": 0.1})
"""

from collections.abc import Callable

from torch import Tensor

from worldmodel.losses.case import Case, Loss
from worldmodel.losses.ensemble import ensemble
from worldmodel.losses.focal import capped_focal, focal, hybrid
from worldmodel.losses.inverse import inverse
from worldmodel.losses.perceptual import perceptual
from worldmodel.losses.pixel import changed, mse, normalised
from worldmodel.losses.rollout import rollout

TABLE: dict[str, Callable[[Case], Loss]] = {
    "mse": mse,
    "changed": changed,
    "focal": focal,
    "hybrid": hybrid,
    "capped-focal": capped_focal,
    "normalised": normalised,
    "rollout": rollout,
    "inverse": inverse,
    "perceptual": perceptual,
    "ensemble": ensemble,
}

__all__ = ["TABLE", "Case", "Loss", "combined"]


def combined(case: Case, weights: dict[str, float]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """The weighted sum, each part (not weighted, no gradient), and the sum of each window [B]."""
    losses = {name: loss(case) for name, loss in TABLE.items() if weights.get(name, 0) > 0}
    total = sum((weights[name] * loss.total for name, loss in losses.items()), case.prediction.new_zeros(()))
    samples = sum((weights[name] * loss.samples for name, loss in losses.items()), case.prediction.new_zeros(len(case.prediction)))
    return total, {name: loss.total.detach() for name, loss in losses.items()}, samples
