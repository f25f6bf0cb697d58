"""Actions as coloured bars, for networks: the colours of worldmodel/canvas.py, from encoded actions."""

import torch
from torch import Tensor, nn

from worldmodel.palette import PALETTE, UNKNOWN
from worldmodel.spec import ActionSpace


class Bars(nn.Module):
    """The pixels of a bar are alike along each row, so one column says all."""

    palette: Tensor

    def __init__(self, space: ActionSpace) -> None:
        super().__init__()
        self.discrete = space.discrete
        colours = torch.tensor((*PALETTE[: len(space.choices)], UNKNOWN) if space.discrete else (UNKNOWN,))
        self.register_buffer("palette", colours.float() / 255.0, persistent=False)

    def forward(self, actions: Tensor, height: int) -> Tensor:
        """Encoded actions [..., E], NaN unknown -> one column of their bars, float32 [..., height, 3] in [0, 1]."""
        known = ~actions.isnan().any(dim=-1)
        if self.discrete:
            index = torch.where(known, actions.nan_to_num().argmax(dim=-1), len(self.palette) - 1)
            return self.palette[index][..., None, :].expand(*index.shape, height, 3)
        share = ((actions.float().nan_to_num() + 1.0) / 2.0).clamp(0.0, 1.0)
        bands = (torch.stack((1.0 - share, share, torch.zeros_like(share)), dim=-1) * 255.0).floor() / 255.0
        bands = torch.where(known[..., None, None], bands, self.palette[-1])
        rows = torch.arange(height, device=actions.device) * actions.shape[-1] // height
        return bands[..., rows, :]
