"""Which states are like those that were learned from: what an ensemble's spread is scaled by.

Members that share a trunk agree where it sees alike, in a pose never shown too. So beside them a Gaussian process is kept over
pictures (the mean colours of their patches), with a squared exponential kernel in random features (Rahimi and Recht 2007):

    phi(x) = [cos W x, sin W x] / sqrt(F),  C = mean of phi phi' over what was learned from,  v(x) = phi' (I + SHARP C)^-1 phi

v is 1 for a picture like none, and falls with every one that is like it (Liu et al. 2020, SNGP, have the same on a network's
features). Nothing of it is trained: the sum of phi phi' is counted up.
"""

import torch
from torch import Tensor, nn

from worldmodel.patches import Patches

FEATURES = 256
LENGTH = 2.0
"""Of the kernel, in units of how far the pictures of the first batch lie from their mean."""
SHARP = 1e7
LEAST_SCALE = 0.05
"""Of pictures that hardly differ: one patch by 13 grey levels."""


class Familiar(nn.Module):
    """Remembers states as a sum, whose trace is their number."""

    pixels: Tensor  # float32 [N, 3]: of each patch, those that exist

    def __init__(self, patches: Patches) -> None:
        super().__init__()
        self.waves = _kept(torch.randn(patches.tokens * 3, FEATURES))
        self.scale = _kept(torch.zeros(1))
        self.seen = _kept(torch.zeros(2 * FEATURES, 2 * FEATURES, dtype=torch.float64))  # SHARP asks for its digits
        self.register_buffer("pixels", patches.real.reshape(patches.tokens, -1, 3).sum(dim=1).clamp(min=1.0), persistent=False)

    def learn(self, pictures: Tensor) -> None:
        """Patches [B, N, P] in [0, 1] that were learned from. The first ones say how far pictures lie apart."""
        colours = self._colours(pictures)
        if not self.scale:
            self.scale.copy_((colours - colours.mean(dim=0)).square().sum(dim=1).mean().sqrt().clamp(min=LEAST_SCALE))
        features = self._features(colours)
        self.seen.add_(features.T @ features)

    def doubt(self, pictures: Tensor) -> Tensor:
        """Patches [B, N, P] -> [B]: (1 + v / the mean v of what was learned from) / 2; 1 as long as there is none."""
        if not self.scale:
            return pictures.new_ones(len(pictures))
        features = self._features(self._colours(pictures))
        mean = self.seen / self.seen.trace()
        inverse = torch.linalg.inv(torch.eye(len(mean), dtype=mean.dtype, device=mean.device) + SHARP * mean)
        unknown = ((features @ inverse) * features).sum(dim=1)
        doubt: Tensor = 0.5 + 0.5 * unknown / (inverse * mean).sum()
        return doubt.float()

    def _colours(self, pictures: Tensor) -> Tensor:
        """Mean colours of the patches, [B, 3 N]."""
        colours = pictures.float().reshape(*pictures.shape[:2], -1, 3).sum(dim=-2)
        return torch.flatten(colours / self.pixels, 1)

    def _features(self, colours: Tensor) -> Tensor:
        """float64 [B, 2 F], of length 1."""
        with torch.autocast(colours.device.type, enabled=False):  # bf16 would blur the angles
            angles = (colours @ self.waves / (LENGTH * self.scale)).double()
        features: Tensor = torch.cat((angles.cos(), angles.sin()), dim=1) / FEATURES**0.5
        return features


def _kept(tensor: Tensor) -> nn.Parameter:
    """Travels with the weights, is never trained."""
    return nn.Parameter(tensor, requires_grad=False)
