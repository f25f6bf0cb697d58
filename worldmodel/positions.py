"""Where a patch lies, told to a network: by rotation, or by a table that is added."""

import torch
from torch import Tensor

ROTARY_BASE = 100.0  # the slowest rotation turns about 1 rad over 30 patches: enough for grids of this size
TABLE_BASE = 10000.0

Rotation = tuple[Tensor, Tensor]


def rotary_table(positions: Tensor, head_width: int) -> Rotation:
    """Row and column of each token [N, 2] -> cos and signed sin, each [N, head_width] (Su et al. 2021, RoFormer, eq. 34).

    The first half of the width turns with the row, the second with the column; inside a half, element i
    pairs with element i + half / 2, so one roll swaps the partners.
    """
    quarter = head_width // 4
    frequencies = ROTARY_BASE ** -(torch.arange(quarter, device=positions.device) / quarter)
    angles = positions[:, :, None] * frequencies  # [N, 2, quarter]
    cos, sin = angles.cos(), angles.sin()
    cos = torch.cat((cos, cos), dim=-1).flatten(1)
    return cos, torch.cat((-sin, sin), dim=-1).flatten(1)


def rotate(x: Tensor, table: Rotation | None) -> Tensor:
    """Turn x [B, N, heads, head_width] by the table's angles (tables [N, 1, head_width], dtype of x); None turns nothing."""
    if table is None:
        return x
    cos, sin = table
    halves = x.reshape(*x.shape[:-1], 2, 2, -1).flip(-2).flatten(-3)
    return x * cos + halves * sin


def sine_table(positions: Tensor, width: int) -> Tensor:
    """Row and column of each token [N, 2] -> float32 [N, width] to add to it (He et al. 2022, MAE).

    Half of the width is for the row, half for the column; each is sines, then cosines, of the frequencies
    10000^(-i / (width / 4)).
    """
    quarter = width // 4
    frequencies = TABLE_BASE ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    angles = positions.double()[:, :, None] * frequencies
    return torch.cat((angles.sin(), angles.cos()), dim=-1).flatten(1).float()
