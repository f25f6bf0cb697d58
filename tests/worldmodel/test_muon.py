"""Muon against torch's own, which computes in bf16, and against what it promises."""

import pytest
import torch

from worldmodel.devices import has_bf16
from worldmodel.muon import QUINTIC, STEPS, Muon, orthogonal

SHAPES = ((6, 6), (12, 6), (6, 20))


def matrices(seed: int) -> list[torch.nn.Parameter]:
    """Two of each shape: what is alike is computed together."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES for _ in range(2)]


def test_steps_are_those_of_torchs_muon() -> None:
    ours, theirs = matrices(0), matrices(0)
    optimizers = (
        Muon(ours, lr=0.02, weight_decay=0.1),
        torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for step in range(1, 4):
        for weights, optimizer in zip((ours, theirs), optimizers, strict=True):
            for weight, gradient in zip(weights, matrices(step), strict=True):
                weight.grad = gradient.detach() * 10.0**-step
            optimizer.step()
    for one, other, first in zip(ours, theirs, matrices(0), strict=True):
        moved, told = one.detach() - first.detach(), other.detach() - first.detach()
        assert float((moved - told).norm() / told.norm()) < 0.05  # bf16 has three digits
    before = ours[0].detach().clone()
    ours[0].grad = None  # what has no gradient stays
    optimizers[0].step()
    assert torch.equal(ours[0], before)


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 30, 10), (3, 10, 40)])
def test_all_directions_of_a_matrix_become_as_long(shape: tuple[int, int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    found = orthogonal(x * 1e-3).float()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6 and values.max() < 1.3
    aligned = torch.einsum("bij,bij->b", found, x) / torch.linalg.svdvals(x).sum(dim=1)
    assert (aligned > 0.85).all()  # of the factor that is nearest to it
    assert orthogonal(torch.zeros(shape)).abs().max() == 0.0


@pytest.mark.parametrize("shape", [(2, 24, 32), (1, 24, 96), (2, 120, 24)])
def test_a_matrix_of_nearly_one_direction(shape: tuple[int, int, int]) -> None:
    """As momenta are: singular values of 1 down to a millionth, each of which must become what the polynomial makes of it."""
    generator = torch.Generator().manual_seed(2)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator).double(), full_matrices=False)
    values = torch.logspace(0, -6, u.shape[2], dtype=torch.float64)
    found = orthogonal((u * values @ v).float()).double()
    a, b, c = QUINTIC
    values = values / values.norm()
    for _ in range(STEPS):
        values = a * values + b * values**3 + c * values**5
    asked = u * values @ v
    assert float((found - asked).norm() / asked.norm()) < (0.3 if has_bf16(u.device) else 1e-3)  # bf16 has no small ones beside a large one


def test_it_computes_in_what_the_device_multiplies_fast() -> None:
    x = torch.eye(4)[None]
    assert orthogonal(x).dtype is (torch.bfloat16 if has_bf16(x.device) else torch.float32)
