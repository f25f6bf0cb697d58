"""What a training step eats: short windows of frames and the actions between them. numpy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Batch:
    """B windows of context + horizon frames; the last `horizon` are to be predicted, one after another. The horizon is mostly 1.

    frames: camera name -> uint8 [B, context + horizon, H, W, 3].
    actions: float32 [B, context + horizon - 1, D]; action t was taken between frame t and frame t + 1.
    A row of NaN says that no action is known (the padding at an episode's start).
    ids: int64 [B], which transitions these are in their source. weights: float32 [B], how much each counts in the loss.
    """

    frames: dict[str, UInt8Array]
    actions: FloatArray
    ids: IntArray | None = None
    weights: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.actions)
