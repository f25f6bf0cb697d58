"""Numbers about one update that cost more than the update's own: asked for now and then.

Gradient norm of each layer; update-to-weight ratio |dw| / (|w| + 1e-8), the median of each layer and the 95th percentile of
all; norms of all weights and of what the optimizer keeps; explained variance 1 - var(prediction - target) / (var(target) + 1e-12)
of the pixels, and the error of those that are not black.
"""

from collections import defaultdict

import torch
from torch import Tensor

from worldmodel.losses import Case
from worldmodel.optimizing import Named, Optimizer

BLACK = 1e-3  # what is darker is black
LOOKED_AT = 2048  # weights of a layer whose ratios are taken, evenly spread


def gradient_norms(named: Named) -> dict[str, float]:
    """`grad/<layer>`: L2 norms, 0 where a layer got no gradient."""
    named = _learned(named)
    given = [(name, parameter.grad) for name, parameter in named if parameter.grad is not None]
    norms = torch.stack(torch._foreach_norm([gradient for _, gradient in given])).tolist() if given else []
    found = dict.fromkeys((f"grad/{name}" for name, _ in named), 0.0)
    return found | {f"grad/{name}": norm for (name, _), norm in zip(given, norms, strict=True)}


def whole_norms(named: Named, optimizer: Optimizer) -> dict[str, float]:
    """`weight_norm`, and `optimizer/<key>` of each kind of moment that the optimizer keeps: L2 norms over all layers together."""
    kept: dict[str, list[Tensor]] = defaultdict(list)
    for _, parameter in _learned(named):
        kept["weight_norm"].append(parameter.detach())
        for key, value in optimizer.state.get(parameter, {}).items():
            if value.shape == parameter.shape:
                kept[f"optimizer/{key}"].append(value)
    return {name: float(torch.stack(torch._foreach_norm(tensors)).norm()) for name, tensors in kept.items()}


class Updates:
    """The weights before an update, to be compared with those after it."""

    def __init__(self, named: Named) -> None:
        self._named = _learned(named)
        self._before = [_some(parameter).clone() for _, parameter in self._named]

    def ratios(self) -> dict[str, float]:
        """`update/<layer>`: medians, and `update_p95`."""
        parts = [
            (_some(parameter) - before).abs() / (before.abs() + 1e-8)
            for (_, parameter), before in zip(self._named, self._before, strict=True)
        ]
        values = torch.stack([part.median() for part in parts] + [torch.cat(parts).quantile(0.95)]).tolist()
        return {f"update/{name}": value for (name, _), value in zip(self._named, values, strict=False)} | {"update_p95": values[-1]}


def _learned(named: Named) -> Named:
    """Without what is never trained."""
    return [(name, parameter) for name, parameter in named if parameter.requires_grad]


def _some(weights: Tensor) -> Tensor:
    flat = weights.detach().reshape(-1)
    return flat[:: max(1, len(flat) // LOOKED_AT)][:LOOKED_AT]


def of_pixels(case: Case) -> dict[str, float]:
    """Of this batch, padding counts nowhere: `explained_variance`; `loss_nonblack`, the squared error of pixels whose target is
    above 0.001, `black_baseline`, that of a black answer there, and `frac_nonblack`, their share. Without any they are 0.
    """
    wrong, target = case.prediction.detach() - case.target, case.target
    if case.counted is not None:
        keep = case.counted.expand_as(target) > 0
        wrong, target = wrong[keep], target[keep]
    bright = target > BLACK
    count = max(1, int(bright.sum()))
    return {
        "explained_variance": 1.0 - float(wrong.var()) / (float(target.var()) + 1e-12),
        "loss_nonblack": float((wrong * bright).square().sum()) / count,
        "black_baseline": float((target * bright).square().sum()) / count,
        "frac_nonblack": float(bright.float().mean()),
    }
