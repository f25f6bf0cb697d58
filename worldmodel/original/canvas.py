"""The original's canvas: context frames, each followed by the bar of its action, and a last slot to fill.

Frames of several cameras are stacked. What is left of the last slot is drawn and cut into patches; the patches of the
slot are those of the frame to predict, because frames and all bars together are multiples of the patch.
"""

import torch
from torch import Tensor, nn

from worldmodel.bars import Bars
from worldmodel.patches import Patches
from worldmodel.positions import sine_table
from worldmodel.spec import ModelSpec


class Canvas(nn.Module):
    """Patches of frames in, patches of the canvas out; where each patch of the canvas lies."""

    def __init__(self, spec: ModelSpec, patches: Patches) -> None:
        super().__init__()
        self.spec = spec
        self.rows, self.columns = sum(rows for rows, _ in patches.grids), patches.grids[0][1]
        self.shown_columns = spec.context * (self.columns * spec.patch + spec.separator) // spec.patch
        self.shown, self.slot = self.rows * self.shown_columns, self.rows * self.columns
        self.bars = Bars(spec.actions)

    def places(self, width: int) -> Tensor:
        """Position table float32 [1 + shown + slot, width]: zeros for the class token, the patches shown, those of the slot."""
        last = self.shown_columns + self.columns - 1
        scale = torch.tensor([max(self.rows - 1, 1), last]) if self.spec.positions == "original" else torch.ones(2)
        shown = torch.cartesian_prod(torch.arange(self.rows), torch.arange(self.shown_columns))
        slot = torch.cartesian_prod(torch.arange(self.rows), torch.arange(self.shown_columns, last + 1))
        table = sine_table(torch.cat((shown, slot)) / scale, width)
        return torch.cat((torch.zeros(1, width), table))[None]

    def draw(self, seen: Tensor, past: Tensor) -> Tensor:
        """Patches [B, context, N, P] and encoded past actions [B, context - 1, E] -> pixels up to the last bar, float [B, H, W, 3]."""
        side = self.spec.patch
        count, context = len(seen), self.spec.context
        frames = seen.reshape(count, context, self.rows, self.columns, side, side * 3).transpose(3, 4)
        frames = frames.reshape(count, context, self.rows * side, self.columns * side, 3)
        parts = [frames[:, 0]]
        for index in range(self.spec.context - 1):
            parts += [self._bar(past[:, index]), frames[:, index + 1]]
        return torch.cat(parts, dim=2)

    def _bar(self, actions: Tensor) -> Tensor:
        column: Tensor = self.bars(actions, self.rows * self.spec.patch)
        return column[:, :, None].expand(-1, -1, self.spec.separator, -1)

    def cut(self, drawn: Tensor, action: Tensor) -> Tensor:
        """Pixels [B, H, W, 3] of `draw` and the last action [B, E] -> the patches shown [B, shown, P]."""
        side = self.spec.patch
        pixels = torch.cat((drawn, self._bar(action)), dim=2)
        patches = pixels.reshape(len(pixels), self.rows, side, self.shown_columns, side * 3).transpose(2, 3)
        return patches.reshape(len(pixels), self.shown, side * side * 3)
