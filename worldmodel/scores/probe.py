"""What is scored, and on which states the truth of every action is known. numpy only."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]
UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
FloatArray = np.ndarray[Any, np.dtype[np.float32]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]
Images = dict[str, UInt8Array]

CHUNK_BYTES = 1 << 21  # of predicted pixels at a time: a full probe of floats would not fit small machines


class Predictor(Protocol):
    """What is scored: FramePredictor, or a hand-made one."""

    def predict_batch(self, frames: Images, past_actions: FloatArray, candidates: FloatArray) -> Images:
        """Histories [B, C, H, W, 3], [B, C - 1, D], candidates [B or 1, A, D] -> {camera: uint8 [B, A, H, W, 3]}."""
        ...


class Spreader(Protocol):
    """A predictor that says how sure it is."""

    def predict_spread(
        self, frames: Images, past_actions: FloatArray, candidates: FloatArray
    ) -> tuple[dict[str, FloatArray], dict[str, FloatArray]]:
        """As `predict_batch`; the mean and the standard deviation of the next frame in [0, 1], float32 [B, A, H, W, 3]."""
        ...


class Blind:
    """A predictor that is never told an action: how a trained action-blind twin is asked."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict_batch(self, frames: Images, past_actions: FloatArray, candidates: FloatArray) -> Images:
        """One answer a state, {camera: uint8 [B, 1, H, W, 3]}, whatever the candidates."""
        unknown = np.full((1, 1, candidates.shape[-1]), np.nan, np.float32)
        return self._predictor.predict_batch(frames, np.full_like(past_actions, np.nan), unknown)


@dataclass(frozen=True)
class Probe:
    """N states with the truth of every action.

    frames {camera: uint8 [N, C, H, W, 3]} and past_actions float32 [N, C - 1, D] lead to each state;
    candidates float32 [A, D] are tried; next {camera: uint8 [N, A, H, W, 3]} is what would follow.
    position: float32 [N, A, 2], (x, y) in pixels of the object in the first camera, on a torus; or None.
    colour: uint8 [3]; then `position` is where the marker of that colour lies, on a plane. novel: [N], 1 where the state lies in
    a region that was never shown.
    """

    frames: Images
    past_actions: FloatArray
    candidates: FloatArray
    next: Images
    position: FloatArray | None = None
    colour: UInt8Array | None = None
    novel: UInt8Array | None = None

    def __len__(self) -> int:
        return len(self.past_actions)

    def part(self, rows: slice | IntArray) -> "Probe":
        """Some of the states."""
        return Probe(
            frames={name: array[rows] for name, array in self.frames.items()},
            past_actions=self.past_actions[rows],
            candidates=self.candidates,
            next={name: array[rows] for name, array in self.next.items()},
            position=None if self.position is None else self.position[rows],
            colour=self.colour,
            novel=None if self.novel is None else self.novel[rows],
        )

    def parts(self) -> Iterator["Probe"]:
        """All states, a few at a time."""
        return (self.part(rows) for rows in chunks(len(self), len(self.candidates), self.next))


def chunks(count: int, pictures: int, images: Images) -> list[slice]:
    """0 to count in pieces whose `pictures` predicted frames of each case take about CHUNK_BYTES."""
    each = pictures * sum(int(np.prod(array.shape[-3:])) for array in images.values())
    size = max(1, CHUNK_BYTES // each)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
