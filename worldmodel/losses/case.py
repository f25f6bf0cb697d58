"""What a loss is computed on, and what it answers."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from worldmodel.devices import autocast
from worldmodel.trainconfig import TrainConfig


class Loss(NamedTuple):
    """`total`: a scalar to go down on; `samples`: float32 [B], what each window has of it, without gradient."""

    total: Tensor
    samples: Tensor


@dataclass(frozen=True)
class Case:
    """One batch as patches in [0, 1], and what the model says of it.

    seen [B, context, N, P]; targets [B, horizon, N, P]; actions: encoded [B, context + horizon - 1, E], as the model was told
    them; taken: the true ones, NaN where unknown. prediction: float32 [B, N, P] of the first frame of the horizon; members
    [B, M, N, P] or None. real [N, P] is 0 where a pixel only pads a frame, hidden [B, N] is 0 where a patch was shown: both
    None when they are 1 everywhere. weights: float32 [B], how much each window counts, or None.
    ids: which transitions they are; steady: whether these always show the same pictures.
    """

    model: Any
    config: TrainConfig
    samples: int
    seen: Tensor
    targets: Tensor
    actions: Tensor
    taken: Tensor
    prediction: Tensor
    members: Tensor | None = None
    real: Tensor | None = None
    hidden: Tensor | None = None
    weights: Tensor | None = None
    ids: tuple[int, ...] | None = None
    steady: bool = True
    precision: str = "fp32"

    @property
    def last(self) -> Tensor:
        """The newest frame seen."""
        return self.seen[:, -1]

    @property
    def target(self) -> Tensor:
        """The frame to predict first."""
        return self.targets[:, 0]

    @property
    def counted(self) -> Tensor | None:
        """What multiplies an error [B, N, P] so that only what was to be predicted counts; None: all of it does."""
        if self.hidden is None:
            return self.real
        hidden = self.hidden[:, :, None].expand(-1, -1, self.target.shape[-1])
        return hidden if self.real is None else hidden * self.real

    @cached_property
    def error(self) -> Tensor:
        """Squared, [B, N, P], padding included."""
        return torch.square(self.prediction - self.target)

    def compute(self) -> Any:
        """A context to run the model in, in the precision of this training."""
        return autocast(self.seen.device, self.precision)


def mean(case: Case, error: Tensor) -> Loss:
    """The plain mean of an error [B, N, P] over what counts, each window with its weight."""
    counted = case.counted
    if counted is None:
        samples = error.flatten(1).mean(1)
    else:
        samples = (error * counted).flatten(1).sum(1) / counted.expand_as(error).flatten(1).sum(1).clamp(min=1.0)
    return Loss(weighted(case, samples), samples.detach())


def weighted(case: Case, samples: Tensor) -> Tensor:
    """The mean of [B] over the windows; a window's weight multiplies what it has, not what is divided by."""
    return samples.mean() if case.weights is None else (samples * case.weights).mean()


def share(case: Case, error: Tensor, weight: Tensor, tiny: float = 0.0) -> Loss:
    """sum(weight * error) / sum(weight) over the whole batch, [B, N, P] each; a window's own share of it likewise."""
    counted = case.counted
    weight = weight if counted is None else weight * counted
    above, below = (weight * error).flatten(1).sum(1), weight.flatten(1).sum(1)
    heavy = above if case.weights is None else above * case.weights
    return Loss(heavy.sum() / (below.sum() + tiny), (above / (below + tiny).clamp(min=1e-12)).detach())
