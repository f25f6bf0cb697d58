"""The masked autoencoder of the original: it encodes what is visible and decodes at full length with mask tokens."""

import torch
from torch import Tensor, nn

from worldmodel.original.base import Original, blocks
from worldmodel.spec import ModelSpec


class EncoderDecoder(Original):
    """See worldmodel/original/base.py."""

    decoder_positions: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec)
        width, heads = spec.decoder_size
        self.encoder = blocks(spec.width, spec.heads, spec.encoder_depth, spec.mlp_ratio)
        self.encoder_norm = nn.LayerNorm(spec.width)
        self.decoder_embed = nn.Linear(spec.width, width)
        self.decoder = blocks(width, heads, spec.decoder_depth, spec.mlp_ratio)
        self.decoder_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, self.patches.pixels)
        self.register_buffer("decoder_positions", self.canvas.places(width), persistent=False)
        self.start()

    def fill(self, shown: Tensor) -> Tensor:
        """See `Original`."""
        visible = 1 + self.canvas.shown
        x = self.embed(shown) + self.positions[:, 1:visible]
        x = torch.cat((self.class_token.expand(len(x), -1, -1), x), dim=1)
        for block in self.encoder:
            x = block(x)
        x = self.decoder_embed(self.encoder_norm(x))
        x = torch.cat((x, self.mask_token.expand(len(x), self.canvas.slot, -1)), dim=1) + self.decoder_positions
        return self._answer(x)

    def fill_holes(self, patches: Tensor, masked: Tensor) -> Tensor:
        """See `Original`. Hidden patches are computed in the encoder too, but no other token reads them."""
        x = self.embed(patches) + self.positions[:, 1:]
        x = torch.cat((self.class_token.expand(len(x), -1, -1), x), dim=1)
        hidden = nn.functional.pad(masked, (1 + self.canvas.shown, 0))
        readable = ~hidden[:, None, None, :]
        for block in self.encoder:
            x = block(x, attn_mask=readable)
        x = self.decoder_embed(self.encoder_norm(x))
        return self._answer(torch.where(hidden[..., None], self.mask_token.to(x.dtype), x) + self.decoder_positions)

    def _answer(self, x: Tensor) -> Tensor:
        for block in self.decoder:
            x = block(x)
        answer: Tensor = self.head(self.decoder_norm(x[:, -self.canvas.slot :]))
        return answer
