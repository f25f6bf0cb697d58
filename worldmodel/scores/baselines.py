"""What a model must beat: copying, the mean picture, going on as before, and the most similar training state. numpy only."""

import numpy as np

from worldmodel.scores.pixels import Pictures
from worldmodel.scores.probe import Array, FloatArray, Images, IntArray
from worldmodel.source import Source

SIDE = 32  # pixels: pictures are compared as averages over squares, at most so many a side
MOST_NEIGHBOURS = 4096
READ_AT_ONCE = 64


def copy_last(frames: Images) -> Images:
    """Histories [n, C, H, W, 3] -> {camera: [n, 1, H, W, 3]}."""
    return {name: array[:, -1:] for name, array in frames.items()}


def linear(frames: Images) -> Pictures:
    """2 x0 - x_-1, clipped: every pixel changes once more as it did. Copies where the history is one frame."""
    out: Pictures = {}
    for name, array in frames.items():
        last = array[:, -1:].astype(np.int16)
        out[name] = np.clip(2 * last - array[:, -2:-1], 0, 255) if array.shape[1] > 1 else last
    return out


def mean_frame(source: Source, ids: IntArray) -> Pictures:
    """The mean of the frames that these transitions lead to: {camera: float32 [1, 1, H, W, 3]}."""
    totals: Pictures = {}
    for start in range(0, len(ids), READ_AT_ONCE):
        for name, array in source.windows(ids[start : start + READ_AT_ONCE]).frames.items():
            totals[name] = totals.get(name, 0.0) + array[:, -1].sum(axis=0, dtype=np.float64)
    return {name: (total / len(ids)).astype(np.float32)[None, None] for name, total in totals.items()}


class NearestNeighbour:
    """Retrieval: the successor of the most similar training state.

    Distance: squared difference of the two newest frames in [0, 1], as averages over squares (at most 32 a side), plus that
    of the action, scaled so that one standard deviation of each of its numbers counts as much as a hundredth of the
    pixels. Of many transitions at most 4096 are searched, evenly spread; their pictures stay in the source.
    """

    def __init__(self, train: Source, ids: IntArray, most: int = MOST_NEIGHBOURS) -> None:
        self._train = train
        self._ids = spread(ids, most)
        parts = [self._read(self._ids[start : start + READ_AT_ONCE]) for start in range(0, len(self._ids), READ_AT_ONCE)]
        actions = np.nan_to_num(np.concatenate([action for _, action in parts]))
        pixels = np.concatenate([pixel for pixel, _ in parts])
        self._scale = np.sqrt(pixels.shape[1] / 100.0) / np.maximum(actions.std(axis=0), 1e-3)
        self._known = np.concatenate((pixels, (actions * self._scale).astype(np.float32)), axis=1)
        self._norm = np.square(self._known).sum(axis=1)

    def _read(self, ids: IntArray) -> tuple[FloatArray, FloatArray]:
        batch = self._train.windows(ids)
        return describe({name: array[:, :-1] for name, array in batch.frames.items()}), batch.actions[:, -1].copy()

    def __call__(self, frames: Images, action: FloatArray) -> Images:
        """Histories [n, C, H, W, 3] and the actions tried [n or 1, A, D] -> retrieved {camera: uint8 [n, A, H, W, 3]}."""
        pixels = describe(frames)
        tried = np.broadcast_to(np.nan_to_num(action), (len(pixels), *action.shape[1:])) * self._scale
        rows = np.repeat(pixels[:, None], tried.shape[1], axis=1)
        wanted = np.concatenate((rows, tried.astype(np.float32)), axis=2).reshape(-1, self._known.shape[1])
        nearest = (self._norm[None] - 2.0 * wanted @ self._known.T).argmin(axis=1)
        found = self._train.windows(self._ids[nearest]).frames
        return {name: array[:, -1].reshape(*tried.shape[:2], *array.shape[2:]) for name, array in found.items()}


def describe(frames: Images) -> FloatArray:
    """The two newest frames in [0, 1], as averages over squares, in one row a state: float32 [n, P]."""
    return np.concatenate([_small(array[:, -2:]).reshape(len(array), -1) for array in frames.values()], axis=1)


def _small(images: Array) -> FloatArray:
    """[n, T, H, W, 3] as averages over squares of pixels, at most SIDE a side; what is left at the edges is cut off."""
    n, times, height, width, colours = images.shape
    square = -(-max(height, width) // SIDE)
    square = min(square, height, width)
    rows, columns = height // square, width // square
    cut = images[:, :, : rows * square, : columns * square].reshape(n, times, rows, square, columns, square, colours)
    return np.asarray(cut.mean(axis=(3, 5), dtype=np.float32) / 255.0, np.float32)


def spread(ids: IntArray, most: int) -> IntArray:
    """At most so many of them, evenly spread, in order."""
    return ids if len(ids) <= most else ids[np.linspace(0, len(ids) - 1, most).round().astype(np.int64)]
