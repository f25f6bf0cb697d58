"""Members that disagree where they know little: each learns from its own draw of the same transitions."""

import torch
from torch import Tensor

from worldmodel.losses.case import Case, Loss
from worldmodel.losses.pixel import boost_at, change_weight

POISSON = torch.tensor([0.36787944, 0.73575888, 0.91969860, 0.98101184, 0.99634015])  # of mean 1: P(count <= 0 .. 4)


def ensemble(case: Case) -> Loss:
    """The changed-pixel loss of each member, with its bootstrapped weights. ValueError for a model of one member."""
    if case.members is None or case.members.shape[1] < 2:
        raise ValueError("the ensemble loss needs a model of several members: set spec.ensemble")
    boost = boost_at(case.samples, case.config.boost, case.config.anneal_samples)
    weight = change_weight(case, boost)
    weight = weight if case.counted is None else weight * case.counted
    error = torch.square(case.members - case.target[:, None])
    members = (weight[:, None] * error).flatten(2).sum(2) / weight.flatten(1).sum(1).clamp(min=1.0)[:, None]  # [B, M]
    drawn = bootstrap(case.ids, case.members.shape[1], case.config.seed, len(error)).to(error.device)
    samples = (members * drawn).mean(1)
    heavy = samples if case.weights is None else samples * case.weights
    return Loss(heavy.mean(), members.mean(1).detach())


def bootstrap(ids: tuple[int, ...] | None, members: int, seed: int, count: int) -> Tensor:
    """How often each member has each transition, float32 [count, members]: Poisson of mean 1, always the same for an id.

    Windows without ids count once for everybody.
    """
    if ids is None:
        return torch.ones(count, members)
    number = torch.tensor(ids, dtype=torch.int64)[:, None] * members + torch.arange(members)
    bits = (number + seed * 0x9E3779B1 + 0x7F4A7C15) & 0xFFFFFFFF
    for _ in range(2):  # a 32-bit finaliser (Wellons 2018, "lowbias32"): neighbours get unrelated bits
        bits = bits ^ (bits >> 16)
        bits = (bits * 0x21F0AAAD) & 0xFFFFFFFF
        bits = bits ^ (bits >> 15)
        bits = (bits * 0x735A2D97) & 0xFFFFFFFF
        bits = bits ^ (bits >> 15)
    return torch.bucketize((bits.double() / 2**32).float(), POISSON, right=True).float()
