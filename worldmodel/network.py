"""The canvas model on tokens: encode what is seen, decode what is masked.

The canvas is history frames, the actions between them, and a masked next frame. The mask never changes,
so it is a slice: only the patches of the history are encoded, and only the patches of the next frame are
decoded, by queries that read the encoded tokens and one another. Each action is a token of its own.

Positions are rotary (Su et al. 2021, RoFormer, eq. 34) in two dimensions and count patches inside a
frame; all frames share them and a learned embedding tells the frames apart. "The same place one frame
earlier" is then the same rotation everywhere, which the dot world learns from a tenth of the samples
that absolute positions need.

The head starts at zero. With the delta target the answer is
    (1 - erase) * last + (1 + show) * paint
with one `erase` and one `show` per patch and one `paint` per pixel. An untrained model copies the last
frame exactly; removing an object needs one number, not its outline; and one number, not the agreement
of all pixels, keeps a patch clean where nothing new appears.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.patches import Patches
from worldmodel.spec import ModelSpec

ROTARY_BASE = 100.0  # the slowest rotation turns about 1 rad over 30 patches: enough for grids of this size


def rotary_table(positions: Tensor, head_width: int) -> tuple[Tensor, Tensor]:
    """Row and column of each token [N, 2] -> cos and signed sin, each [N, head_width].

    The first half of the width turns with the row, the second with the column; inside a half, element i
    pairs with element i + half / 2, so one roll swaps the partners.
    """
    quarter = head_width // 4
    frequencies = ROTARY_BASE ** -(torch.arange(quarter, device=positions.device) / quarter)
    angles = positions[:, :, None] * frequencies  # [N, 2, quarter]
    cos, sin = angles.cos(), angles.sin()
    cos = torch.cat((cos, cos), dim=-1).flatten(1)
    return cos, torch.cat((-sin, sin), dim=-1).flatten(1)


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """Turn x [B, N, heads, head_width] by the table's angles (tables [N, 1, head_width], dtype of x)."""
    cos, sin = table
    halves = x.reshape(*x.shape[:-1], 2, 2, -1).flip(-2).flatten(-3)
    return x * cos + halves * sin


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of [B, heads, N, head_width] tensors.

    On a CPU the fused kernel gains nothing from bf16, so plain matrix products are 2.6 times faster.
    """
    if q.device.type == "cpu":
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
        return torch.matmul(scores.softmax(dim=-1, dtype=scores.dtype), v)
    return functional.scaled_dot_product_attention(q, k, v)


class Block(nn.Module):
    """Pre-norm transformer block; with `memory` its tokens read those as well as one another."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, cross: bool) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.memory_kv = nn.Linear(width, 2 * width) if cross else None
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, mlp_ratio * width)
        self.down = nn.Linear(mlp_ratio * width, width)

    def read(self, memory: Tensor, table: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Keys and values of the memory [B, M, width], each [B, M, heads, head_width]."""
        assert self.memory_kv is not None
        k, v = self.memory_kv(memory).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return rotate(k, table), v

    def forward(self, x: Tensor, table: tuple[Tensor, Tensor], memory: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """x [B, N, width] -> the same shape."""
        qk, v = self.qkv(self.norm1(x)).unflatten(-1, (3 * self.heads, -1)).split((2 * self.heads, self.heads), dim=-2)
        q, k = rotate(qk, table).chunk(2, dim=-2)
        if memory is not None:
            k, v = torch.cat((memory[0], k), dim=1), torch.cat((memory[1], v), dim=1)
        mixed = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x.add(self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh")))


class WorldModel(nn.Module):
    """Frames and actions in, the next frame out, all as patches."""

    frame_cos: Tensor  # rotary tables: of one frame's tokens, and of all tokens that are seen
    frame_sin: Tensor
    seen_cos: Tensor
    seen_sin: Tensor

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.patches = Patches(spec)
        width, pixels = spec.width, self.patches.pixels
        self.embed = nn.Linear(pixels, width)
        self.action = nn.Linear(spec.actions.encoded_size, width)
        self.unknown_action = nn.Parameter(torch.randn(width) * 0.02)
        self.frame_time = nn.Parameter(torch.randn(spec.context, width) * 0.02)
        self.action_time = nn.Parameter(torch.randn(spec.context, width) * 0.02)
        self.camera = nn.Parameter(torch.randn(len(spec.cameras), width) * 0.02)
        self.query = nn.Parameter(torch.randn(width) * 0.02)
        self.encoder = nn.ModuleList(Block(width, spec.heads, spec.mlp_ratio, cross=False) for _ in range(spec.encoder_depth))
        self.encoder_norm = nn.LayerNorm(width)
        self.start = nn.Linear(width, width)
        self.decoder = nn.ModuleList(Block(width, spec.heads, spec.mlp_ratio, cross=True) for _ in range(spec.decoder_depth))
        self.decoder_norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, pixels + (2 if spec.target == "delta" else 0))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        head_width = width // spec.heads
        cos, sin = rotary_table(self.patches.positions, head_width)
        # The encoder sees all frames' patches, then the past actions, which have no place in a frame.
        past = spec.context - 1
        seen_cos = torch.cat((cos.repeat(spec.context, 1), torch.ones(past, head_width)))
        seen_sin = torch.cat((sin.repeat(spec.context, 1), torch.zeros(past, head_width)))
        tables = {"frame_cos": cos, "frame_sin": sin, "seen_cos": seen_cos, "seen_sin": seen_sin}
        for name, table in tables.items():
            self.register_buffer(name, table[:, None], persistent=False)

    def tables(self, dtype: torch.dtype) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Rotary tables of the seen tokens and of one frame's tokens, in the dtype of the activations."""
        seen = self.seen_cos.to(dtype), self.seen_sin.to(dtype)
        return seen, (self.frame_cos.to(dtype), self.frame_sin.to(dtype))

    def embed_actions(self, actions: Tensor) -> Tensor:
        """Encoded actions [..., E], NaN rows unknown -> [..., width]."""
        known = ~actions.isnan().any(dim=-1, keepdim=True)
        return torch.where(known, self.action(actions.nan_to_num()), self.unknown_action)

    def encode(self, seen: Tensor, past: Tensor) -> Tensor:
        """Patches float [B, context, N, P] in [0, 1] and encoded past actions [B, context - 1, E] -> memory [B, M, width]."""
        place = self.camera[self.patches.camera_index]
        x = (self.embed(seen) + self.frame_time[:, None] + place).flatten(1, 2)
        x = torch.cat((x, self.embed_actions(past) + self.action_time[:-1]), dim=1)
        table = self.tables(self._dtype(x))[0]
        for block in _blocks(self.encoder):
            x = block(x, table)
        encoded: Tensor = self.encoder_norm(x)
        return encoded

    def decode(self, memory: Tensor, last: Tensor, action: Tensor) -> Tensor:
        """Memory [B, M, width], last patches [B, N, P], encoded actions [B, A, E] -> next patches float32 [B, A, N, P]."""
        options, tokens = action.shape[1], self.patches.tokens
        newest = (self.spec.context - 1) * tokens
        x = self.start(memory[:, newest : newest + tokens]) + self.query
        told = self.embed_actions(action) + self.action_time[-1]
        x = (x[:, None] + told[:, :, None]).flatten(0, 1)
        seen_table, table = self.tables(self._dtype(x))
        for block in _blocks(self.decoder):
            k, v = block.read(memory, seen_table)
            if options > 1:
                k, v = k.repeat_interleave(options, dim=0), v.repeat_interleave(options, dim=0)
            x = block(x, table, (k, v))
        answer: Tensor = self.head(self.decoder_norm(x)).float().unflatten(0, (-1, options))
        if self.spec.target == "full":
            return answer
        paint, erase, show = torch.split(answer, [self.patches.pixels, 1, 1], dim=-1)
        return torch.addcmul((1.0 - erase) * last[:, None], 1.0 + show, paint)

    def forward(self, seen: Tensor, actions: Tensor) -> Tensor:
        """Patches [B, context, N, P] and encoded actions [B, context, E] -> next patches float32 [B, N, P]."""
        # After the newest frame's patches the memory holds the past actions; the action to imagine enters last.
        memory = self.encode(seen, actions[:, :-1])
        return self.decode(memory, seen[:, -1], actions[:, -1:])[:, 0]

    @staticmethod
    def _dtype(x: Tensor) -> torch.dtype:
        kind = x.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _blocks(modules: nn.ModuleList) -> list[Block]:
    return cast(list[Block], list(modules))
