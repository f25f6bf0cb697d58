"""From what the head says to the next frame: the picture itself, or the last frame changed.

    full    paint
    delta   (1 - erase) * last + (1 + show) * paint
    flow    (1 - erase) * moved + (1 + show) * paint

`paint` is one number per pixel, `erase` and `show` one per patch. An untrained model, whose head says 0, copies the last frame;
removing an object needs one number, not its outline; and one number, not the agreement of all pixels, keeps a patch clean where
nothing new appears.

`moved` is the last frame, every pixel taken from elsewhere in it: each patch says where from with an affine motion of six numbers
(a shift, and how it changes along x and along y), read between pixels (Jaderberg et al. 2015, Spatial Transformer Networks, eq. 5).
What moves as a piece need not be painted again, so a moving arm or camera is learned from far fewer frames.

A picture has nothing blacker than black or whiter than white, and neither has the answer; the gradient passes as if it had. So no
loss asks the head to hit black exactly, and what it does not know of a black background is not seen as a glow.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.patches import Patches

MOTION = 1.0 / 8.0
"""Patch sides that a motion of 1 is: an untrained head's noise then blurs little, and both dots and arms are learned sooner."""
Target = Literal["delta", "full", "flow"]
EXTRA = {"full": 0, "delta": 2, "flow": 8}
"""Numbers of a patch beside its pixels."""


class Answer(nn.Module):
    """What `target` makes of the head's numbers."""

    def __init__(self, target: Target, patches: Patches) -> None:
        super().__init__()
        self.target = target
        self.size = patches.pixels + EXTRA[target]
        self._pixels = patches.pixels
        self._moves = nn.ModuleList(Move(*grid, patches.spec.patch) for grid in patches.grids) if target == "flow" else None
        self._counts = patches.counts

    def forward(self, said: Tensor, last: Tensor) -> Tensor:
        """Head's numbers float32 [B, A, M, N, size] and last patches [B, N, P] -> next patches [B, A, M, N, P]."""
        if self.target == "full":
            return within(said)
        paint, erase, show, motion = torch.split(said, [self._pixels, 1, 1, EXTRA[self.target] - 2], dim=-1)
        before = last[:, None, None]
        if self._moves is not None:
            parts = zip(self._moves, torch.split(last, self._counts, dim=-2), torch.split(motion, self._counts, dim=-2), strict=True)
            before = torch.cat([move(patches, its_motion) for move, patches, its_motion in parts], dim=-2)
        return within(torch.addcmul((1.0 - erase) * before, 1.0 + show, paint))


def within(pixels: Tensor) -> Tensor:
    """As a picture shows them, 0 to 1, with the gradient of what they were (straight through; Bengio et al. 2013)."""
    return pixels + (pixels.detach().clamp(0.0, 1.0) - pixels.detach())


class Move(nn.Module):
    """Takes the pixels of one camera's frame from elsewhere in it; beyond its edge the edge goes on."""

    here: Tensor  # float32 [H, W, 2]: x and y of each pixel, -1 to 1 over the frame
    within: Tensor  # float32 [side]: of a pixel in its patch, from the middle, in sides

    def __init__(self, rows: int, columns: int, side: int) -> None:
        super().__init__()
        self.rows, self.columns, self.side = rows, columns, side
        y, x = (2.0 * (torch.arange(count * side) + 0.5) / (count * side) - 1.0 for count in (rows, columns))
        self.register_buffer("here", torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1), persistent=False)
        self.register_buffer("within", (torch.arange(side) + 0.5) / side - 0.5, persistent=False)

    def forward(self, last: Tensor, motion: Tensor) -> Tensor:
        """Patches [B, N, P] and motions [B, A, M, N, 6], in `MOTION` -> moved patches [B, A, M, N, P]."""
        rows, columns, side = self.rows, self.columns, self.side
        lead = motion.shape[:3]
        pictures = (
            last.reshape(-1, rows, columns, side, side, 3).permute(0, 5, 1, 3, 2, 4).reshape(len(last), 3, rows * side, columns * side)
        )
        pictures = pictures[:, None].expand(-1, lead[1] * lead[2], -1, -1, -1).flatten(0, 1)
        shift, along_x, along_y = torch.split(motion.reshape(-1, rows, 1, columns, 1, 6), 2, dim=-1)
        field = shift + along_x * self.within[:, None] + along_y * self.within[:, None, None, None]
        # the frame has `columns` and `rows` patch sides over a width and height of 2
        field = field.flatten(3, 4).flatten(1, 2) * (2.0 * MOTION / field.new_tensor((columns, rows)))
        field = torch.nan_to_num(field, 0.0, 1.0, -1.0)  # torch's own code reads anywhere in memory for a NaN
        moved = functional.grid_sample(pictures, self.here + field, padding_mode="border", align_corners=False)
        return moved.reshape(-1, 3, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1).reshape(*lead, rows * columns, -1)
