"""The optimizer, made in one place, and its state as tensors and plain values."""

from collections.abc import Iterable
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from worldmodel.muon import Muon
from worldmodel.schedules import peak
from worldmodel.trainconfig import TrainConfig

Named = list[tuple[str, nn.Parameter]]
PLAIN = (int, float, bool)
LEAST = 64
"""Shorter side of a matrix that Muon takes: a narrower one, such as that of a few actions, has no directions to balance."""


class Optimizer(Protocol):
    """What training asks of an optimizer: torch's own, or two as one."""

    param_groups: list[dict[str, Any]]
    state: Any

    def step(self) -> object: ...

    def zero_grad(self, set_to_none: bool = True) -> None: ...


class MuonAndAdamW:
    """Muon for the matrices, AdamW for all else; their groups and their state are looked at as those of one.

    Both take the same rate.
    """

    def __init__(self, matrices: list[nn.Parameter], others: list[dict[str, Any]], config: TrainConfig) -> None:
        lr = peak(config)
        muon = Muon(matrices, lr, config.weight_decay)
        adamw = torch.optim.AdamW(others, lr=lr, betas=config.betas, fused=True)
        adamw.state = muon.state  # each looks only for its own parameters
        self._both = (muon, adamw)
        self.param_groups = muon.param_groups + adamw.param_groups
        self.state = muon.state

    def step(self) -> None:
        for one in self._both:
            one.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for one in self._both:
            one.zero_grad(set_to_none)


def make_optimizer(config: TrainConfig, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer that is asked for. Vectors do not decay: pulling biases and norms to zero buys nothing."""
    every = list(parameters)
    groups: list[dict[str, Any]] = [
        {"params": [p for p in every if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
    ]
    if config.schedule == "schedule-free":
        from schedulefree import AdamWScheduleFree

        free = AdamWScheduleFree(groups, lr=peak(config), betas=config.betas)
        free.train()
        return cast(Optimizer, free)
    balanced = [p for p in every if p.ndim == 2 and min(p.shape) >= LEAST and p.requires_grad]
    if config.optimizer == "adamw" or not balanced:
        return torch.optim.AdamW(groups, lr=peak(config), betas=config.betas, fused=True)
    taken = set(balanced)
    others = [{**group, "params": [p for p in group["params"] if p not in taken]} for group in groups]
    return MuonAndAdamW(balanced, [group for group in others if group["params"]], config)


def kind(config: dict[str, Any]) -> str:
    """Which optimizer a configuration asks for; an old one, which does not say, for AdamW."""
    return "schedule-free" if config.get("schedule") == "schedule-free" else str(config.get("optimizer", "adamw"))


def averaged(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> list[Tensor]:
    """Of a schedule-free optimizer the averaged weights x: it trains at y = (1 - beta) z + beta x. New tensors."""
    beta = optimizer.param_groups[0]["betas"][0]
    found = []
    for parameter in parameters:
        z = optimizer.state.get(parameter, {}).get("z")
        y = parameter.detach()
        found.append(y.clone() if z is None else torch.lerp(y, z, 1.0 - 1.0 / beta))
    return found


def optimizer_state(optimizer: Optimizer, named: Named) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Tensors by `optimizer.<key>.<parameter>`, and what each group counts."""
    tensors = {
        f"optimizer.{key}.{name}": value.detach().cpu().clone()
        for name, parameter in named
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    groups = [{name: value for name, value in group.items() if isinstance(value, PLAIN)} for group in optimizer.param_groups]
    return tensors, groups


def load_optimizer(
    optimizer: Optimizer, named: Named, tensors: dict[str, Tensor], groups: list[dict[str, Any]], device: torch.device
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
