"""Muon: the momentum of every matrix made orthogonal, so that all its directions are learned at one pace (K. Jordan 2024).

torch.optim.Muon does the same in bf16 alone, which a processor without bf16 instructions emulates hundreds of times slower than it
multiplies fp32, and one matrix at a time.
"""

from typing import Any

import torch
from torch import Tensor

from worldmodel.devices import has_bf16

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Of Jordan's iteration: brings singular values near 1 in few steps rather than to 1 in many."""
STEPS = 5
MOMENTUM = 0.95
ADAMW_RMS = 0.2
"""What the elements of an update of AdamW's are on average; ours are scaled to it, so that both take one rate (arXiv 2502.16982)."""


class Muon(torch.optim.Optimizer):
    """For matrices only, with Nesterov's momentum and weight decay apart from the gradient."""

    def __init__(self, matrices: list[torch.nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # nobody needs a closure
        for group in self.param_groups:
            lr, matrices = group["lr"], [matrix for matrix in group["params"] if matrix.grad is not None]
            for alike in _by_shape(matrices):
                rows, columns = alike[0].shape
                scale = ADAMW_RMS * max(rows, columns) ** 0.5
                updates = orthogonal(torch.stack([self._momentum(matrix) for matrix in alike]))
                torch._foreach_mul_(alike, 1.0 - lr * group["weight_decay"])
                torch._foreach_add_(alike, list(updates.to(alike[0].dtype).unbind()), alpha=-lr * scale)

    def _momentum(self, matrix: Tensor) -> Tensor:
        """Nesterov's: this gradient, and what the running mean has become with it."""
        assert matrix.grad is not None
        state: dict[str, Any] = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        mean = state["momentum_buffer"].lerp_(matrix.grad, 1.0 - MOMENTUM)
        found: Tensor = matrix.grad.lerp(mean, MOMENTUM)
        return found


def _by_shape(matrices: list[Tensor]) -> list[list[Tensor]]:
    found: dict[tuple[torch.Size, torch.device], list[Tensor]] = {}
    for matrix in matrices:
        found.setdefault((matrix.shape, matrix.device), []).append(matrix)
    return list(found.values())


def orthogonal(matrices: Tensor) -> Tensor:
    """[B, R, C] -> the same with singular values of 0.7 to 1.2 (those that were not next to none), by Newton and Schulz; bf16 where
    the device has it."""
    x = matrices.bfloat16() if has_bf16(matrices.device) else matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    # in bf16 the small eigenvalues of a Gram matrix are noise, which `_at_once` would let grow
    x = _at_once(x) if x.shape[2] >= 3 * x.shape[1] and x.dtype == torch.float32 else _by_steps(x)
    return x.mT if tall else x


def _by_steps(x: Tensor) -> Tensor:
    for _ in range(STEPS):
        x = torch.baddbmm(x, _beyond_first(x @ x.mT), x, beta=QUINTIC[0])
    return x


def _at_once(x: Tensor) -> Tensor:
    """The product of all steps' factors, then x once: half of the work where x is much wider than high."""
    gram = x @ x.mT
    product = factor = _factor(gram)
    for _ in range(STEPS - 1):
        gram = factor @ (factor @ gram)  # of what this step makes of x; all of these are polynomials of one matrix, so they commute
        factor = _factor(gram)
        product = factor @ product
    return product @ x


def _factor(gram: Tensor) -> Tensor:
    """What a step multiplies x with, [B, R, R], of x @ x.mT."""
    factor = _beyond_first(gram)
    factor.diagonal(dim1=-2, dim2=-1).add_(QUINTIC[0])
    return factor


def _beyond_first(gram: Tensor) -> Tensor:
    """The same without the identity's share, which bf16 would round too much of the rest away with."""
    return torch.baddbmm(gram, gram, gram, beta=QUINTIC[1], alpha=QUINTIC[2])
