"""One transformer block, for encoder and decoder."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.positions import Rotation, rotate


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of [B, heads, N, head_width] tensors.

    On a CPU the fused kernel gains nothing from bf16, so plain matrix products are 2.6 times faster.
    """
    if q.device.type == "cpu":
        scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
        return torch.matmul(scores.softmax(dim=-1, dtype=scores.dtype), v)
    return functional.scaled_dot_product_attention(q, k, v)


class Block(nn.Module):
    """Pre-norm transformer block.

    With `memory` its tokens read those as well as one another. With a condition it is an adaLN-Zero block (Peebles and Xie
    2023, DiT): the condition shifts and scales what is normed and gates what is added, and starts with gates of zero.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: int, memory_width: int = 0, condition_width: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=not condition_width)
        self.qkv = nn.Linear(width, 3 * width)
        self.memory_kv = nn.Linear(memory_width, 2 * width) if memory_width else None
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=not condition_width)
        self.up = nn.Linear(width, mlp_ratio * width)
        self.down = nn.Linear(mlp_ratio * width, width)
        self.modulate = nn.Linear(condition_width, 6 * width) if condition_width else None
        if self.modulate is not None:
            nn.init.zeros_(self.modulate.weight)
            nn.init.zeros_(self.modulate.bias)

    def read(self, memory: Tensor, table: Rotation | None) -> tuple[Tensor, Tensor]:
        """Keys and values of the memory [B, M, memory_width], each [B, M, heads, head_width]."""
        assert self.memory_kv is not None
        k, v = self.memory_kv(memory).unflatten(-1, (2, self.heads, -1)).unbind(-3)
        return rotate(k, table), v

    def forward(
        self, x: Tensor, table: Rotation | None, memory: tuple[Tensor, Tensor] | None = None, condition: Tensor | None = None
    ) -> Tensor:
        """x [B, N, width], condition [B, condition_width] -> the shape of x."""
        if self.modulate is None or condition is None:
            x = x + self._mix(self.norm1(x), table, memory)
            return x + self._think(self.norm2(x))
        told: Tensor = self.modulate(functional.silu(condition))[:, None]
        shift1, scale1, gate1, shift2, scale2, gate2 = told.chunk(6, dim=-1)
        x = x + gate1 * self._mix(self.norm1(x) * (1.0 + scale1) + shift1, table, memory)
        return x + gate2 * self._think(self.norm2(x) * (1.0 + scale2) + shift2)

    def _mix(self, x: Tensor, table: Rotation | None, memory: tuple[Tensor, Tensor] | None) -> Tensor:
        qk, v = self.qkv(x).unflatten(-1, (3 * self.heads, -1)).split((2 * self.heads, self.heads), dim=-2)
        q, k = rotate(qk, table).chunk(2, dim=-2)
        if memory is not None:
            k, v = torch.cat((memory[0], k), dim=1), torch.cat((memory[1], v), dim=1)
        mixed = attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        answer: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return answer

    def _think(self, x: Tensor) -> Tensor:
        answer: Tensor = self.down(functional.gelu(self.up(x), approximate="tanh"))
        return answer
