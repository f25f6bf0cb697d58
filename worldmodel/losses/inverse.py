"""Which action lies between two frames? Asked of true frames it teaches `model.inverse`; asked of a predicted frame it
teaches the model to show what the action did, with what `model.inverse` knows held fixed."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.losses.case import Case, Loss, weighted


def inverse(case: Case) -> Loss:
    """Cross-entropy of discrete choices, squared error of continuous actions, summed over the true and the predicted frame.

    A window whose action is not known counts nothing. Raises ValueError for a model without `inverse`.
    """
    if not case.model.spec.inverse:
        raise ValueError("the inverse loss needs a model with an inverse head: set spec.inverse")
    taken = case.taken[:, case.seen.shape[1] - 1]
    known = ~taken.isnan().any(dim=-1)
    taken = taken.nan_to_num()
    with case.compute():
        from_truth = case.model.inverse(case.last, case.target).float()
        with _held(case.model):
            from_prediction = case.model.inverse(case.last, case.prediction).float()
    discrete = case.model.spec.actions.discrete
    samples = (_wrong(from_truth, taken, discrete) + _wrong(from_prediction, taken, discrete)) * known
    return Loss(weighted(case, samples), samples.detach())


def _wrong(said: Tensor, taken: Tensor, discrete: bool) -> Tensor:
    """float [B] of logits or values [B, E] against the encoded actions [B, E]."""
    if discrete:
        return functional.cross_entropy(said, taken.argmax(dim=-1), reduction="none")
    return torch.square(said - taken).mean(dim=-1)


@contextmanager
def _held(model: nn.Module) -> Iterator[None]:
    """Inside, what is computed leaves no gradient in any weight."""
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in free:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in free:
            parameter.requires_grad_(True)
