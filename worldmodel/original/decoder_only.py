"""The decoder-only ViT of the original: one stack that reads all patches, with mask tokens for those of the slot."""

import torch
from torch import Tensor, nn

from worldmodel.original.base import Original, blocks
from worldmodel.spec import ModelSpec


class DecoderOnly(Original):
    """See worldmodel/original/base.py. Its head starts at zero, so an untrained model answers black."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.decoder = blocks(spec.width, spec.heads, spec.decoder_depth, spec.mlp_ratio)
        self.decoder_norm = nn.LayerNorm(spec.width)
        self.head = nn.Linear(spec.width, self.patches.pixels)
        self.start()
        nn.init.zeros_(self.head.weight)

    def fill(self, shown: Tensor) -> Tensor:
        """See `Original`."""
        x = self.embed(shown)
        return self._answer(torch.cat((x, self.mask_token.expand(len(x), self.canvas.slot, -1)), dim=1))

    def fill_holes(self, patches: Tensor, masked: Tensor) -> Tensor:
        """See `Original`."""
        x = self.embed(patches)
        hidden = nn.functional.pad(masked, (self.canvas.shown, 0))[..., None]
        return self._answer(torch.where(hidden, self.mask_token.to(x.dtype), x))

    def _answer(self, x: Tensor) -> Tensor:
        x = torch.cat((self.class_token.expand(len(x), -1, -1), x), dim=1) + self.positions
        for block in self.decoder:
            x = block(x)
        answer: Tensor = self.head(self.decoder_norm(x[:, -self.canvas.slot :]))
        return answer
