"""One camera: dark and saturated frames, frames that repeat, and a picture that stands still while the robot moves."""

import bisect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.messages import Array
from storage.quality.report import CameraQuality, Count, Frozen, Place

MARGIN = 32
"""A frame is dark when none of its patches is brighter than this, saturated when none is darker than 255 minus this."""
SAME_LEVELS = 8
"""A value that differs by no more looks the same."""
SAME_SHARE = 1e-4
"""Frames look the same when no greater share of their values differs by more than SAME_LEVELS."""
MIN_ACTIONS = 3
"""Fewer moves than these make no frozen camera."""
MAX_TOLD = 20
"""The longest frozen runs that are kept."""


class CameraMeter:
    """Takes the frames of one camera in order; keeps one picture."""

    def __init__(self, topic: str, name: str) -> None:
        self.topic, self.name = topic, name
        self._frames = self._moves = 0
        self._missing, self._dark, self._bright, self._duplicates, self._stuck = Counter(), Counter(), Counter(), Counter(), Counter()
        self._sum, self._min, self._max = 0.0, 255.0, 0.0
        self._hash = 0
        self._still = _Still()
        self._frozen: list[Frozen] = []

    def without(self, place: Place) -> None:
        """A frame of its topic came without a picture of this camera."""
        self._missing.add(place)
        self._end_run()

    def see(self, image: Array, place: Place) -> tuple[float, bool, bool]:
        """A frame [H, W, 3] uint8: its brightness, 0 to 255, whether it is dark, whether it is saturated."""
        self._frames += 1
        patches = patch_means(image)
        mean = float(patches.mean())
        self._sum += mean
        self._min, self._max = min(self._min, mean), max(self._max, mean)
        dark, bright = bool(patches.max() <= MARGIN), bool(patches.min() >= 255 - MARGIN)
        if dark:
            self._dark.add(place)
        if bright:
            self._bright.add(place)
        return mean, dark, bright

    def begin(self, image: Array, image_hash: int, place: Place) -> None:
        """The frame follows no other: a new episode, or a hole before it."""
        self._end_run()
        self._still = _Still(image, place)
        self._hash = image_hash

    def follow(self, image: Array, image_hash: int, place: Place, seconds: float, moved: bool) -> bool:
        """The frame one step after the last one, `seconds` later; `moved`: something should have changed, and nothing did?"""
        duplicate, self._hash = image_hash == self._hash, image_hash
        if duplicate:
            self._duplicates.add(place)
        self._moves += moved
        if duplicate and moved:
            self._stuck.add(place)
        same = self._still.image is not None and (duplicate or looks_same(image, self._still.image))
        if not same:
            self._end_run()
            self._still = _Still(image, place)
        else:
            self._still.frames += 1
            self._still.seconds += seconds * moved
            self._still.actions += moved
            self._still.until_s = place.at_s
        return duplicate and moved

    def result(self) -> CameraQuality:
        self._end_run()
        return CameraQuality(
            topic=self.topic, name=self.name, frames=self._frames, missing=self._missing.result(),
            brightness_mean=self._sum / self._frames if self._frames else 0.0, brightness_min=self._min, brightness_max=self._max,
            dark=self._dark.result(), bright=self._bright.result(), duplicates=self._duplicates.result(),
            stuck=self._stuck.result(), moves=self._moves, frozen=list(self._frozen),
        )  # fmt: skip

    def _end_run(self) -> None:
        run, self._still = self._still, _Still()
        if run.place is None or run.actions < MIN_ACTIONS:
            return
        found = Frozen(start=run.place, until_s=run.until_s, seconds=run.seconds, frames=run.frames, actions=run.actions)
        bisect.insort(self._frozen, found, key=lambda other: -other.seconds)
        del self._frozen[MAX_TOLD:]


class Counter:
    """Counts places, and keeps the first."""

    def __init__(self) -> None:
        self._count = 0
        self._first: Place | None = None

    def add(self, place: Place) -> None:
        self._count += 1
        self._first = self._first or place

    def result(self) -> Count:
        return Count(self._count, self._first)


class _Still:
    """A run of frames that look as its first one."""

    def __init__(self, image: Array | None = None, place: Place | None = None) -> None:
        self.image, self.place = image, place
        self.frames = 1
        self.until_s = self.seconds = 0.0
        self.actions = 0


def patch_means(image: Array) -> NDArray[np.float32]:
    """[H, W, 3] uint8 to the means of square patches, float32: noise is gone, a small bright thing is still there."""
    height, width = image.shape[:2]
    side = max(1, min(8, min(height, width) // 28))
    rows, columns = height // side, width // side
    part = image[: rows * side, : columns * side]
    tall = part.reshape(rows, side, -1).sum(axis=1, dtype=np.uint16)
    sums: NDArray[Any] = tall.reshape(rows, columns, -1).sum(axis=2, dtype=np.uint32)
    return np.asarray(sums / np.float32(side * side * 3), dtype=np.float32)


def looks_same(image: Array, other: Array) -> bool:
    """Whether hardly any value of two uint8 images differs by more than noise."""
    if image.shape != other.shape:
        return False
    distance = np.maximum(image, other) - np.minimum(image, other)
    return int(np.count_nonzero(distance > SAME_LEVELS)) <= SAME_SHARE * image.size
