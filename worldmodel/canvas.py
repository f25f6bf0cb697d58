"""The model's way of seeing, drawn for people: frames side by side, each action a coloured bar between two.

    picture = canvas(frames, actions, space)      # frames [T, H, W, 3], actions [T - 1, D]

The last slot is the caller's: the predicted frame, the true one, or `masked_frame`. numpy only.
"""

from typing import Any

import numpy as np

from worldmodel.palette import PALETTE, UNKNOWN, Colour
from worldmodel.spec import ActionSpace

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]


def action_colour(action: np.ndarray[Any, Any], space: ActionSpace) -> tuple[Colour, ...]:
    """Colours of one action [D], top to bottom of its bar.

    Discrete: one colour, the palette's entry of the nearest choice. Continuous: one colour per number,
    red at its low end, green at its high end. An unknown action (NaN) is grey.
    """
    encoded = space.encode(np.asarray(action, dtype=np.float32))
    if np.isnan(encoded).any():
        return (UNKNOWN,)
    if space.discrete:
        return (PALETTE[int(encoded.argmax()) % len(PALETTE)],)
    share = np.clip((encoded + 1.0) / 2.0, 0.0, 1.0)
    return tuple((int(255 * (1 - t)), int(255 * t), 0) for t in share.tolist())


def action_bar(action: np.ndarray[Any, Any], space: ActionSpace, height: int, width: int) -> UInt8Array:
    """The bar of one action, uint8 [height, width, 3]: equal bands, one per colour."""
    colours = np.asarray(action_colour(action, space), dtype=np.uint8)
    rows = np.arange(height) * len(colours) // max(height, 1)
    return np.repeat(colours[rows][:, None, :], width, axis=1)


def masked_frame(height: int, width: int) -> UInt8Array:
    """What stands for a frame not predicted yet: a grey checkerboard, uint8 [height, width, 3]."""
    rows, columns = np.indices((height, width)) // 8
    grey = np.where((rows + columns) % 2 == 0, 64, 96).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def canvas(frames: UInt8Array, actions: np.ndarray[Any, Any], space: ActionSpace, separator: int = 8) -> UInt8Array:
    """Frames uint8 [T, H, W, 3] and actions [T - 1, D] -> one picture uint8 [H, T*W + (T-1)*separator, 3].

    Action t lies between frame t and frame t + 1. Raises ValueError when the shapes do not fit.
    """
    frames, actions = np.asarray(frames), np.asarray(actions, dtype=np.float32)
    if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames are {frames.dtype} {frames.shape}: give uint8 of shape [T, H, W, 3]")
    count, height, width, _ = frames.shape
    if actions.ndim != 2 or len(actions) != count - 1:
        raise ValueError(f"{count} frames need {count - 1} actions between them; got an array of shape {actions.shape}")
    picture = np.empty((height, count * width + (count - 1) * separator, 3), dtype=np.uint8)
    for index in range(count):
        left = index * (width + separator)
        picture[:, left : left + width] = frames[index]
        if index + 1 < count:
            bar = action_bar(actions[index], space, height, separator)
            picture[:, left + width : left + width + separator] = bar
    return picture
