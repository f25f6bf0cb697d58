"""A plain masked autoencoder over canvases, to measure beside: timm's blocks, fp32, SDPA, a decoder of full length.

The canvas is a picture, the last slot is hidden, all patches are answered and the loss is the squared error in the slot:
He et al. 2022 with a mask that never changes. Nothing of worldmodel/ is used.
"""

import numpy as np
import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import Block
from torch import Tensor, nn


def position_table(rows: int, columns: int, width: int) -> Tensor:
    """The original's table: coordinates in [0, 1], sines and cosines, a zero row for the class token; [1, 1 + N, width]."""
    frequencies = 10000.0 ** (-np.arange(width // 4) / (width // 4))
    y, x = np.meshgrid(np.linspace(0.0, 1.0, rows), np.linspace(0.0, 1.0, columns), indexing="ij")
    halves = []
    for coordinate in (y, x):
        angles = coordinate.reshape(-1, 1) * frequencies
        halves += [np.sin(angles), np.cos(angles)]
    table = np.concatenate((np.zeros((1, width)), np.concatenate(halves, axis=1)))
    return torch.from_numpy(table.astype(np.float32))[None]


class Reference(nn.Module):
    """Encoder 256 x 5, decoder 128 x 5, 4 heads each, patches of 16."""

    def __init__(self, height: int, width: int, slot_left: int, patch: int = 16) -> None:
        super().__init__()
        rows, columns, self.patch = height // patch, width // patch, patch
        slot = torch.zeros(rows, columns, dtype=torch.bool)
        slot[:, slot_left // patch :] = True
        self.register_buffer("slot", slot.flatten().nonzero()[:, 0])
        self.register_buffer("visible", (~slot).flatten().nonzero()[:, 0])
        self.patch_embed = PatchEmbed((height, width), patch, 3, 256)
        self.class_token = nn.Parameter(torch.randn(1, 1, 256) * 0.02)
        self.encoder = nn.ModuleList(Block(256, 4, qkv_bias=True) for _ in range(5))
        self.encoder_norm = nn.LayerNorm(256)
        self.decoder_embed = nn.Linear(256, 128)
        self.mask_token = nn.Parameter(torch.randn(1, 1, 128) * 0.02)
        self.decoder = nn.ModuleList(Block(128, 4, qkv_bias=True) for _ in range(5))
        self.decoder_norm = nn.LayerNorm(128)
        self.head = nn.Linear(128, patch * patch * 3)
        self.register_buffer("encoder_positions", position_table(rows, columns, 256))
        self.register_buffer("decoder_positions", position_table(rows, columns, 128))

    def forward(self, canvas: Tensor) -> Tensor:
        """Pictures float [B, 3, H, W] -> all patches [B, N, patch * patch * 3]."""
        x = self.patch_embed(canvas) + self.encoder_positions[:, 1:]
        x = x[:, self.visible]
        x = torch.cat((self.class_token.expand(len(x), -1, -1), x), dim=1)
        for block in self.encoder:
            x = block(x)
        x = self.decoder_embed(self.encoder_norm(x))
        full = self.mask_token.repeat(len(x), len(self.slot) + len(self.visible), 1)
        full[:, self.visible] = x[:, 1:]
        x = torch.cat((x[:, :1], full), dim=1) + self.decoder_positions
        for block in self.decoder:
            x = block(x)
        return self.head(self.decoder_norm(x))[:, 1:]

    def loss(self, canvas: Tensor) -> Tensor:
        """Mean squared error of the hidden patches."""
        b, _, height, width = canvas.shape
        side = self.patch
        patches = canvas.reshape(b, 3, height // side, side, width // side, side).permute(0, 2, 4, 3, 5, 1).reshape(b, -1, side * side * 3)
        return torch.nn.functional.mse_loss(self(canvas)[:, self.slot], patches[:, self.slot])

    def weights_for(self, names: list[str]) -> dict[str, Tensor]:
        """Its weights under the names that our `encoder-decoder` family uses."""
        own = {name: parameter.detach().clone() for name, parameter in self.named_parameters()}
        own["embed.weight"] = own.pop("patch_embed.proj.weight").permute(0, 2, 3, 1).flatten(1)
        own["embed.bias"] = own.pop("patch_embed.proj.bias")
        return {name: own[name] for name in names}


class ReferenceTraining:
    """One step at a time on canvases uint8 [B, H, W, 3]."""

    def __init__(self, model: Reference, lr: float, weight_decay: float, betas: tuple[float, float]) -> None:
        self.model = model
        plain = [p for name, p in model.named_parameters() if "bias" in name or "norm" in name]
        decayed = [p for name, p in model.named_parameters() if not ("bias" in name or "norm" in name)]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas)

    def step(self, canvases: np.ndarray) -> float:
        pictures = torch.from_numpy(canvases).permute(0, 3, 1, 2).float() / 255.0
        loss = self.model.loss(pictures)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()
