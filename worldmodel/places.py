"""Where the tokens of one sequence lie, told in the way that the spec asks for."""

import torch
from torch import Tensor, nn

from worldmodel.patches import Patches
from worldmodel.positions import Rotation, rotary_table, sine_table
from worldmodel.spec import ModelSpec


class Places(nn.Module):
    """Relative places turn queries and keys; absolute and original ones are added to the tokens."""

    cos: Tensor
    sin: Tensor
    table: Tensor

    def __init__(self, spec: ModelSpec, places: Tensor, width: int, heads: int, scale: Tensor) -> None:
        """places: row and column of each token, float [L, 2]; scale [2] makes the original's range [0, 1] of them."""
        super().__init__()
        self.rotates = spec.positions == "relative"
        if self.rotates:
            for name, table in zip(("cos", "sin"), rotary_table(places, width // heads), strict=True):
                self.register_buffer(name, table[:, None], persistent=False)
        else:
            table = sine_table(places / scale if spec.positions == "original" else places, width)
            self.register_buffer("table", table, persistent=False)

    def rotation(self, dtype: torch.dtype) -> Rotation | None:
        """Tables for `rotate`, in the dtype of the activations; None when nothing is turned."""
        return (self.cos.to(dtype), self.sin.to(dtype)) if self.rotates else None

    def add(self, x: Tensor) -> Tensor:
        """Tokens [..., L, width] with their place added, where places are added."""
        return x if self.rotates else x + self.table


def bar_places(patches: Patches) -> tuple[Tensor, Tensor]:
    """Of the patches of one bar: row and column, float [L, 2], right of each camera's frame; and the camera, int64 [L]."""
    places = [torch.tensor([[row, columns] for row in range(rows)], dtype=torch.float32) for rows, columns in patches.grids]
    cameras = [torch.full((rows,), index) for index, (rows, _) in enumerate(patches.grids)]
    return torch.cat(places), torch.cat(cameras)
