"""The optimizer, made in one place, and its state as tensors and plain values."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from worldmodel.schedules import peak
from worldmodel.trainconfig import TrainConfig

Named = list[tuple[str, nn.Parameter]]
PLAIN = (int, float, bool)


def make_optimizer(config: TrainConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW, or its schedule-free form. Only matrices decay: pulling biases, norms and embeddings to zero buys nothing."""
    every = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in every if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.schedule != "schedule-free":
        return torch.optim.AdamW(groups, lr=peak(config), betas=config.betas, fused=True)
    from schedulefree import AdamWScheduleFree

    optimizer: torch.optim.Optimizer = AdamWScheduleFree(groups, lr=peak(config), betas=config.betas)
    optimizer.train()  # type: ignore[attr-defined]
    return optimizer


def averaged(optimizer: torch.optim.Optimizer, parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Of a schedule-free optimizer the averaged weights x: it trains at y = (1 - beta) z + beta x. New tensors."""
    beta = optimizer.param_groups[0]["betas"][0]
    found = []
    for parameter in parameters:
        z = optimizer.state.get(parameter, {}).get("z")
        y = parameter.detach()
        found.append(y.clone() if z is None else torch.lerp(y, z, 1.0 - 1.0 / beta))
    return found


def optimizer_state(optimizer: torch.optim.Optimizer, named: Named) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Tensors by `optimizer.<key>.<parameter>`, and what each group counts."""
    tensors = {
        f"optimizer.{key}.{name}": value.detach().cpu().clone()
        for name, parameter in named
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    groups = [{name: value for name, value in group.items() if isinstance(value, PLAIN)} for group in optimizer.param_groups]
    return tensors, groups


def load_optimizer(
    optimizer: torch.optim.Optimizer, named: Named, tensors: dict[str, Tensor], groups: list[dict[str, Any]], device: torch.device
) -> None:
    """Take out of `tensors` what is this optimizer's."""
    for name, parameter in named:
        keys = [key for key in tensors if key.startswith("optimizer.") and key.split(".", 2)[2] == name]
        slots = {key.split(".")[1]: tensors.pop(key).to(device) for key in keys}
        if slots:
            optimizer.state[parameter] = slots
    for group, values in zip(optimizer.param_groups, groups, strict=False):
        # Of rates and decays the configuration decides; the optimizer's own counts are what is kept.
        group.update({name: value for name, value in values.items() if name in COUNTS and name in group})


COUNTS = ("k", "weight_sum", "lr_max", "train_mode")
