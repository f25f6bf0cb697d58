"""The first, middle and last canvas of a session of decisions, as training sees them, in one picture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CONTEXT = 2
CAPTION_HIGH = 30


def picture_of(session: Path, caption: str) -> NDArray[np.uint8]:
    """HxWx3 uint8 RGB. Raises ValueError when there are too few decisions for a canvas; StorageError."""
    from nodes.worlds import model_actions
    from storage.loading.frames import Frames
    from storage.loading.windows import Windows
    from storage.reader import SessionReader
    from worldmodel.canvas import canvas

    with SessionReader(session) as reader:
        assert reader.robot is not None
        space = model_actions(reader.robot.actions)
        windows = Windows(Frames([reader]), CONTEXT)
        batch = windows.empty(len(windows))
        windows.read(np.arange(len(windows)), batch)
        full = np.flatnonzero(~np.isnan(batch.actions).any(axis=(1, 2)))
        if not len(full):
            raise ValueError(f"{len(windows)} decisions in a row: a canvas needs {CONTEXT}")
        chosen = sorted({full[0], full[len(full) // 2], full[-1]})
        rows = [canvas(frames[pick], batch.actions[pick], space) for pick in chosen for frames in batch.frames.values()]
    return captioned(rows, caption)


def captioned(pictures: list[NDArray[np.uint8]], caption: str) -> NDArray[np.uint8]:
    """One below the other, black where one is narrower, below a line of text."""
    import cv2

    width = max(picture.shape[1] for picture in pictures)
    text = np.zeros((CAPTION_HIGH, width, 3), np.uint8)
    cv2.putText(text, caption, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    wide = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0))) for picture in pictures]
    return np.concatenate([text, *wide])
