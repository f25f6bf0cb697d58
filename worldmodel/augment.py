"""Pictures changed at random, alike on all frames of a window and in all its cameras; of use where the data is small.

    frames = augment(frames, config, rng)

A shift repeats the pixels at the edge. A mirror image is for worlds whose actions know no left and right.
"""

import numpy as np
import torch
from torch import Tensor

from worldmodel.trainconfig import TrainConfig


def augments(config: TrainConfig) -> bool:
    """Whether anything is changed at all."""
    return config.augment_shift > 0 or config.augment_brightness > 0 or config.augment_flip > 0


def augment(frames: dict[str, Tensor], config: TrainConfig, rng: np.random.Generator) -> dict[str, Tensor]:
    """Frames {camera: uint8 [B, T, H, W, 3]} -> the same shapes, new tensors. Draws four numbers a window."""
    count = len(next(iter(frames.values())))
    draws = torch.from_numpy(rng.random((4, count)))
    reach = config.augment_shift
    down, right = (((2 * reach + 1) * draws[:2]).long() - reach).unbind(0)
    light = 1.0 + config.augment_brightness * (2 * draws[2] - 1)
    mirrored = draws[3] < config.augment_flip
    return {name: _changed(pictures, down, right, light, mirrored) for name, pictures in frames.items()}


def _changed(pictures: Tensor, down: Tensor, right: Tensor, light: Tensor, mirrored: Tensor) -> Tensor:
    count, _, height, width, _ = pictures.shape
    columns = torch.arange(width).repeat(count, 1)
    columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    columns = (columns - torch.where(mirrored, -right, right)[:, None]).clamp(0, width - 1).to(pictures.device)
    rows = (torch.arange(height) - down[:, None]).clamp(0, height - 1).to(pictures.device)
    window = torch.arange(count, device=pictures.device)[:, None, None]
    moved = pictures.movedim(1, 3)[window, rows[:, :, None], columns[:, None, :]].movedim(3, 1)
    if bool((light == 1.0).all()):
        return moved
    scale = light.to(pictures.device, torch.float32)[:, None, None, None, None]
    return (moved.float() * scale).round_().clamp_(0.0, 255.0).to(torch.uint8)
