"""Pictures as square patches and back, for any frame size and several cameras.

A frame is padded with black at its right and lower edge to a multiple of the patch. The patches of all
cameras of one moment lie on one token axis: camera by camera, row by row. Inside a patch the order is
(row, column, colour).
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worldmodel.spec import Camera, ModelSpec


def grid(camera: Camera, patch: int) -> tuple[int, int]:
    """(rows, columns) of patches of one camera."""
    return math.ceil(camera.height / patch), math.ceil(camera.width / patch)


class Patches(nn.Module):
    """The geometry of one spec: where each token lies, which pixels are padding, cut and paste."""

    positions: Tensor  # float32 [N, 2]: row and column of each patch
    camera_index: Tensor  # int64 [N]
    real: Tensor  # float32 [N, P]: 1 where a pixel exists, 0 where it pads

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.grids = [grid(camera, spec.patch) for camera in spec.cameras]
        self.counts = [rows * columns for rows, columns in self.grids]
        self.tokens = sum(self.counts)
        self.pixels = spec.patch * spec.patch * 3
        places = [np.indices(shape).reshape(2, -1).T for shape in self.grids]
        index = np.repeat(np.arange(len(self.grids)), self.counts)
        ones = [torch.ones(1, c.height, c.width, 3, dtype=torch.uint8) for c in spec.cameras]
        # Not saved: they follow from the spec.
        self.register_buffer("positions", torch.from_numpy(np.concatenate(places)).float(), persistent=False)
        self.register_buffer("camera_index", torch.from_numpy(index), persistent=False)
        self.register_buffer("real", self._join(ones)[0].float(), persistent=False)
        self.padded = bool((self.real == 0).any())

    def cut(self, frames: dict[str, Tensor]) -> Tensor:
        """Frames {camera: uint8 [..., H, W, 3]} -> uint8 [..., N, P]. Raises ValueError for other shapes."""
        parts = []
        for camera in self.spec.cameras:
            part = frames.get(camera.name)
            if part is None:
                raise ValueError(f"no frames of camera {camera.name!r}: got {sorted(frames)}")
            if part.shape[-3:] != (camera.height, camera.width, 3):
                raise ValueError(
                    f"camera {camera.name!r} gave frames of shape {tuple(part.shape)}; "
                    f"the model was made for [..., {camera.height}, {camera.width}, 3]"
                )
            parts.append(part)
        return self._join(parts)

    def _join(self, parts: list[Tensor]) -> Tensor:
        side, joined = self.spec.patch, []
        for part, (rows, columns) in zip(parts, self.grids, strict=True):
            lead, (height, width) = part.shape[:-3], part.shape[-3:-1]
            if (height, width) != (rows * side, columns * side):
                part = functional.pad(part, (0, 0, 0, columns * side - width, 0, rows * side - height))
            part = part.reshape(*lead, rows, side, columns, side * 3).transpose(-3, -2)
            joined.append(part.reshape(*lead, rows * columns, self.pixels))
        return joined[0] if len(joined) == 1 else torch.cat(joined, dim=-2)

    def paste(self, patches: Tensor) -> dict[str, Tensor]:
        """Patches [..., N, P] -> {camera: [..., H, W, 3]}, padding dropped."""
        side, frames = self.spec.patch, {}
        parts = torch.split(patches, self.counts, dim=-2)
        for camera, part, (rows, columns) in zip(self.spec.cameras, parts, self.grids, strict=True):
            lead = part.shape[:-2]
            picture = part.reshape(*lead, rows, columns, side, side * 3).transpose(-3, -2)
            picture = picture.reshape(*lead, rows * side, columns * side, 3)
            frames[camera.name] = picture[..., : camera.height, : camera.width, :]
        return frames
