"""What a training step eats: short windows of frames and the actions between them. numpy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Batch:
    """B windows of context + 1 frames; the last frame is the one to predict.

    frames: camera name -> uint8 [B, context + 1, H, W, 3].
    actions: float32 [B, context, D]; action t was taken between frame t and frame t + 1.
    A row of NaN says that no action is known (the padding at an episode's start).
    """

    frames: dict[str, UInt8Array]
    actions: FloatArray

    def __len__(self) -> int:
        return len(self.actions)
