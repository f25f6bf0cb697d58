"""Which frames go into which part of a split: masks over frames, no files.

A part is a mask over the frames of a session; masks of one division never overlap.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.editing.table import Frames, Mask, Numbers
from storage.editing.wanted import Guard
from storage.errors import EditRefused

Unit = Literal["episode", "session", "time"]
TRAIN, VALIDATE = "train", "validate"


class Part(NamedTuple):
    """A part and the end of its name, to which the number of its frames is added where `sized`."""

    name: str
    frames: Mask
    sized: bool = False


def units(frames: Frames, unit: Unit, every_s: float | None = None) -> Numbers:
    """For each frame the unit it is in, from 0 in order of appearance: by episode, by run of the robot, or by time.

    Time without `every_s` makes each frame a unit of its own.
    """
    if unit == "time":
        if every_s is None:
            return np.arange(len(frames))
        label: NDArray[np.int64] = (frames.seconds // every_s).astype(np.int64)
    else:
        label = frames.episode if unit == "episode" else frames.run
    _, first, at = np.unique(label, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[at], np.int64)


def pieces(frames: Frames, unit: Unit, every_s: float | None = None) -> list[Part]:
    """Every unit as a part of its own."""
    label = units(frames, unit, every_s)
    names = [f"{unit}{number}" for number in range(int(label.max(initial=-1)) + 1)]
    if unit == "episode":  # by the numbers they have
        names = [f"episode{frames.episode[np.flatnonzero(label == at)[0]]}" for at in range(len(names))]
    return [Part(name, label == at) for at, name in enumerate(names)]


def two_parts(label: Numbers, percent: int) -> tuple[Mask, Mask]:
    """Train and validation of whole units, two at least: the first that hold `percent` of the frames, and the rest, at least one unit."""
    sizes = np.bincount(label)
    wanted = share(int(sizes.sum()), percent)
    leading = int(np.searchsorted(np.cumsum(sizes), wanted)) + 1
    train = label < min(leading, sizes.size - 1)
    return train, ~train


def share(count: int, percent: int) -> int:
    """`percent` of `count`, rounded up."""
    return -(-count * percent // 100)


def guarded(frames: Frames, train: Mask, validation: Mask, guard: Guard) -> Mask:
    """The frames of `validation` that are farther than the guard from every frame of `train`."""
    at = np.flatnonzero(train)
    mine = np.flatnonzero(validation)
    if not at.size or not mine.size:
        return validation
    after = np.searchsorted(at, mine)
    far = np.ones(mine.size, np.bool_)
    for near, there in ((at[np.maximum(after - 1, 0)], after > 0), (at[np.minimum(after, at.size - 1)], after < at.size)):
        far &= ~there | (np.abs(mine - near) > guard.frames)
        if guard.seconds:
            far &= ~there | (np.abs(frames.seconds[mine] - frames.seconds[near]) >= guard.seconds)
    out = np.zeros_like(validation)
    out[mine[far]] = True
    return out


def train_and_validation(frames: Frames, train: Mask, validation: Mask, guard: Guard, stage: int | None = None) -> list[Part]:
    """Both parts, with the guard taken from the validation. Raises EditRefused when nothing is left of one."""
    kept = guarded(frames, train, validation, guard)
    if not kept.any() or not train.any():
        which = "this division" if stage is None else f"stage {stage}"
        size = int(train.sum() + validation.sum())
        raise EditRefused(
            f"{which} of {size} frames leaves none to {VALIDATE if train.any() else TRAIN} on: change its size or share, or the --guard"
        )
    prefix = "" if stage is None else f"stage{stage}_"
    return [Part(prefix + TRAIN, train, sized=True), Part(prefix + VALIDATE, kept, sized=True)]


def stage_sizes(total: int, first: int = 10, count: int | None = None) -> list[int]:
    """How many frames each progressive stage has: `first`, doubled until all, or `count` equal increments. Raises EditRefused."""
    if count is None:
        sizes = [first]
        while sizes[-1] * 2 < total:
            sizes.append(sizes[-1] * 2)
        return [size for size in sizes if size < total] + [total]
    if not 1 <= count <= total:
        raise EditRefused(f"{count} stages of {total} frames cannot be: give 1 to {total}")
    return [at * (total // count) for at in range(1, count)] + [total]


def stages(frames: Frames, sizes: list[int], percent: int, guard: Guard) -> list[Part]:
    """Train and validation of each stage: the first frames, and those that follow at once but for the guard."""
    at = np.arange(len(frames))
    out: list[Part] = []
    for number, size in enumerate(sizes, start=1):
        cut = share(size, percent)
        out += train_and_validation(frames, at < cut, (at >= cut) & (at < size), guard, number)
    return out
