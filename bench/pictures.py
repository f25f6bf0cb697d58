"""Real frames to measure with: a humanoid's head camera, resized, with the noise that the video's codec took away put back."""

from pathlib import Path
from typing import Any

import numpy as np

from bench.learning import recordings

VIDEO = Path("g1_bottle_v30", "videos", "observation.images.cam_high", "chunk-000", "file-000.mp4")
SIGMA = 1.0
"""Of the noise, in grey levels."""

Pictures = np.ndarray[Any, np.dtype[np.uint8]]


def pictures(count: int, height: int, width: int, sigma: float = SIGMA) -> Pictures | None:
    """[count, height, width, 3] uint8 RGB, the same at every call; None where the recording, or what decodes it, is missing."""
    try:
        import av
        import cv2
    except ImportError:
        return None
    file = recordings() / VIDEO
    if not file.is_file():
        return None
    rng = np.random.default_rng(0)
    made = np.empty((count, height, width, 3), np.uint8)
    with av.open(str(file)) as container:
        for index, frame in zip(range(count), container.decode(video=0), strict=False):
            small = cv2.resize(frame.to_ndarray(format="rgb24"), (width, height), interpolation=cv2.INTER_AREA)
            noisy = small + rng.normal(0, sigma, small.shape)
            made[index] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return made
