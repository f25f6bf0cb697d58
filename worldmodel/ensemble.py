"""Heads that answer each for itself, so that where they disagree nothing was learned.

Every member adds to the common head a small network of its own, which is trained, and a random one, which is not (Osband et
al. 2018, randomized prior functions). Where frames were seen, a member learns to cancel its prior; elsewhere the priors remain.
The priors read the trunk but send it no gradient.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

PRIOR_SCALE = 0.03  # standard deviation of a prior's answer, in units of the head's answer


class Members(nn.Module):
    """M small networks, computed together."""

    def __init__(self, width: int, size: int, members: int) -> None:
        super().__init__()
        self.members = members
        hidden = width // 2
        self.up = nn.Linear(width, members * hidden)
        self.down = nn.Parameter(torch.zeros(members, hidden, size))
        self.bias = nn.Parameter(torch.zeros(members, 1, size))
        self.prior_up = nn.Parameter(torch.randn(members * hidden, width) * (2.0 / width**0.5), requires_grad=False)
        self.prior_down = nn.Parameter(torch.randn(members, hidden, size) * (PRIOR_SCALE / hidden**0.5), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, N, width] -> what each member adds to the head's answer, [B, M, N, size]."""
        own = torch.matmul(self._split(functional.gelu(self.up(x))), self.down) + self.bias
        prior = torch.matmul(self._split(functional.linear(x.detach(), self.prior_up).sin()), self.prior_down)
        answer: Tensor = own + prior
        return answer

    def _split(self, x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:-1], self.members, -1).transpose(1, 2)
