"""The inverse model: which action lies between two frames.

It has weights of its own, so that a gradient reaches the model of the world only through the frame it is asked about.
"""

import torch
from torch import Tensor, nn

from worldmodel.blocks import Block
from worldmodel.patches import Patches
from worldmodel.positions import rotary_table
from worldmodel.spec import ModelSpec

WIDTH, HEADS = 64, 2


class Inverse(nn.Module):
    """Both frames' patches at one place are one token; one block, then the mean and the strongest of all places."""

    camera_index: Tensor
    cos: Tensor
    sin: Tensor

    def __init__(self, spec: ModelSpec, patches: Patches) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * patches.pixels, WIDTH)
        self.camera = nn.Parameter(torch.randn(len(spec.cameras), WIDTH) * 0.02)
        self.block = Block(WIDTH, HEADS, spec.mlp_ratio)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(2 * WIDTH, spec.actions.encoded_size)
        self.register_buffer("camera_index", patches.camera_index, persistent=False)
        for name, table in zip(("cos", "sin"), rotary_table(patches.positions, WIDTH // HEADS), strict=True):
            self.register_buffer(name, table[:, None], persistent=False)

    def forward(self, last: Tensor, following: Tensor) -> Tensor:
        """Patches [B, N, P] of two frames that follow one another -> float32 [B, E]."""
        x = self.embed(torch.cat((last, following - last), dim=-1)) + self.camera[self.camera_index]
        x = self.norm(self.block(x, (self.cos.to(x.dtype), self.sin.to(x.dtype))))
        answer: Tensor = self.head(torch.cat((x.mean(dim=1), x.amax(dim=1)), dim=-1)).float()
        return answer
