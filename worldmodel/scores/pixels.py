"""Errors of pictures in [0, 1]: mean squared error, PSNR, SSIM, and the error where something changed.

Pictures are {camera: uint8 or float [n, A, H, W, 3]} in 0 to 255; either A may be 1. All cameras count by their pixels.
Numbers are per case, [n, A]; averages are taken before they are turned into decibels.
"""

import math

import numpy as np

from worldmodel.scores.probe import Array, FloatArray

CHANGED = 8  # of 255, summed over the colours
DILATED_PX = 3
SSIM_SIDE = 11  # of the Gaussian window that SSIM looks through

Pictures = dict[str, Array]
Masks = dict[str, Array]


def mse(ours: Pictures, truth: Pictures) -> FloatArray:
    """Mean squared error in [0, 1] over all pixels of all cameras: [n, A]."""
    total: FloatArray = np.float32(0.0)  # type: ignore[assignment]
    for name, array in truth.items():
        difference = ours[name].astype(np.float32) - array
        total = total + np.einsum("nahwc,nahwc->na", difference, difference)
    return np.asarray(total / (_numbers(truth) * 255.0**2), np.float32)


def absolute(ours: Pictures, theirs: Pictures) -> FloatArray:
    """Mean absolute difference, in 0 to 255: [n, A]."""
    total: FloatArray = np.float32(0.0)  # type: ignore[assignment]
    for name, array in theirs.items():
        total = total + np.abs(ours[name].astype(np.float32) - array).sum(axis=(-3, -2, -1))
    return np.asarray(total / _numbers(theirs), np.float32)


def psnr(error: float) -> float | None:
    """10 log10(1 / MSE) in decibels; None, which stands for infinity, where there is no error."""
    return 10.0 * math.log10(1.0 / error) if error > 0 else None


def ssim(ours: Pictures, truth: Pictures) -> FloatArray:
    """Structural similarity (Gaussian 11x11, sigma 1.5, range 1) [n, A]; pictures need at least 11 pixels a side."""
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure as similarity

    parts, sizes = [], []
    for name, array in truth.items():
        height, width = array.shape[-3:-1]
        pair = np.broadcast_arrays(ours[name], array)
        shape = pair[0].shape[:2]
        x, y = (torch.from_numpy(a.reshape(-1, height, width, 3).astype(np.float32) / 255.0).movedim(-1, 1) for a in pair)
        parts.append(np.asarray(similarity(x, y, data_range=1.0, reduction="none"), np.float32).reshape(shape))
        sizes.append(height * width)
    return np.asarray(np.average(np.stack(parts), axis=0, weights=sizes), np.float32)


def changed(last: Pictures, truth: Pictures) -> Masks:
    """{camera: bool [n, A, H, W]}: where the truth differs from the last frame by more than 8/255, and 3 px around."""
    return {
        name: dilate(np.abs(array.astype(np.int16) - last[name]).sum(axis=-1, dtype=np.int32) > CHANGED) for name, array in truth.items()
    }


def dilate(mask: Array, pixels: int = DILATED_PX) -> Array:
    """bool [..., H, W], grown by so many pixels in each direction (a square); it does not wrap around."""
    for axis in (-2, -1):
        grown = mask.copy()
        to, of = grown.swapaxes(axis, -1), mask.swapaxes(axis, -1)  # views
        for shift in range(1, min(pixels, mask.shape[axis] - 1) + 1):
            to[..., shift:] |= of[..., :-shift]
            to[..., :-shift] |= of[..., shift:]
        mask = grown
    return mask


def masked_error(ours: Pictures, truth: Pictures, masks: Masks) -> FloatArray:
    """Sum, not mean, of the squared errors in [0, 1] inside the masks: [n, A]."""
    total: FloatArray = np.float32(0.0)  # type: ignore[assignment]
    for name, array in truth.items():
        square = np.square(ours[name].astype(np.float32) - array).sum(axis=-1)
        total = total + (square * masks[name]).sum(axis=(-2, -1))
    return np.asarray(total / 255.0**2, np.float32)


def masked_size(masks: Masks) -> FloatArray:
    """How many numbers (pixels times colours) the masks hold: [n, A]."""
    return np.asarray(sum(3 * mask.sum(axis=(-2, -1)) for mask in masks.values()), np.float32)


def _numbers(images: Pictures) -> int:
    return sum(int(np.prod(array.shape[-3:])) for array in images.values())
