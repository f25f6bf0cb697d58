"""Numbers about one update that cost more than the update's own: asked for now and then.

Gradient norm of each layer; update-to-weight ratio |dw| / (|w| + 1e-8), the median of each layer and the 95th percentile of
all; explained variance 1 - var(prediction - target) / (var(target) + 1e-12) of the pixels.
"""

import torch
from torch import Tensor

from worldmodel.losses import Case
from worldmodel.optimizing import Named

LOOKED_AT = 2048  # weights of a layer whose ratios are taken, evenly spread


def gradient_norms(named: Named) -> dict[str, float]:
    """`grad/<layer>`: L2 norms, 0 where a layer got no gradient."""
    given = [(name, parameter.grad) for name, parameter in named if parameter.grad is not None]
    norms = torch.stack(torch._foreach_norm([gradient for _, gradient in given])).tolist() if given else []
    found = dict.fromkeys((f"grad/{name}" for name, _ in named), 0.0)
    return found | {f"grad/{name}": norm for (name, _), norm in zip(given, norms, strict=True)}


class Updates:
    """The weights before an update, to be compared with those after it."""

    def __init__(self, named: Named) -> None:
        self._named = named
        self._before = [_some(parameter).clone() for _, parameter in named]

    def ratios(self) -> dict[str, float]:
        """`update/<layer>`: medians, and `update_p95`."""
        parts = [
            (_some(parameter) - before).abs() / (before.abs() + 1e-8)
            for (_, parameter), before in zip(self._named, self._before, strict=True)
        ]
        values = torch.stack([part.median() for part in parts] + [torch.cat(parts).quantile(0.95)]).tolist()
        return {f"update/{name}": value for (name, _), value in zip(self._named, values, strict=False)} | {"update_p95": values[-1]}


def _some(weights: Tensor) -> Tensor:
    flat = weights.detach().reshape(-1)
    return flat[:: max(1, len(flat) // LOOKED_AT)][:LOOKED_AT]


def explained_variance(case: Case) -> float:
    """Of the pixels of this batch; padding counts nowhere."""
    wrong, target = case.prediction.detach() - case.target, case.target
    if case.counted is not None:
        keep = case.counted.expand_as(target) > 0
        wrong, target = wrong[keep], target[keep]
    return 1.0 - float(wrong.var()) / (float(target.var()) + 1e-12)
