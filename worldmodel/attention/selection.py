"""Which patches to look at: by what they show, by what changes in them, or by number.

Numbers count the patches of one frame, camera by camera, row by row, from 0; the canvas has the same order.
"""

import re
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.patches import grid

if TYPE_CHECKING:
    from worldmodel.attention.capture import Attention, FloatArray, Images

BRIGHT, CHANGED = 0.5, 0.02


class AttentionError(ValueError):
    """Something to look at that is not there. One line: what, and what there is."""


def select(text: str, attention: "Attention", target: "Images | None" = None) -> list[int]:
    """The patches that `text` means: `brightness:0.5`, `change`, `change:0.1`, `all`, or numbers as `0,5,10-15`.

    brightness: those whose mean is at least so much of 255, in the frame to come: in `target` {camera: uint8 [H, W, 3]}, the
    true one, where it is given, else as predicted. change: those that differ from the last frame by at least so much of 255
    on average. Raises AttentionError when there is none.
    """
    count = len(_places(attention))
    kind, _, given = text.partition(":")
    if text == "all":
        return list(range(count))
    if kind not in ("brightness", "change"):
        return numbers_in(text, count, "patch")
    least = _share(given, text) if given else {"brightness": BRIGHT, "change": CHANGED}[kind]
    values = patch_means(attention, target or attention.prediction, kind == "change")
    found = np.flatnonzero(values >= least).tolist()
    if not found:
        raise AttentionError(f"no patch has a {kind} of {least:g}: the largest is {values.max():.3f}; try {kind}:{values.max() / 2:.2g}")
    return [int(one) for one in found]


def patch_means(attention: "Attention", shown: "Images", against_last: bool) -> "FloatArray":
    """Mean of each patch of a frame in [0, 1], or of its difference from the last frame: float32 [N]."""
    values = []
    side = attention.spec.patch
    for camera, row, column in _places(attention):
        area = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
        picture = shown[camera][area].astype(np.float32)
        values.append(np.abs(picture - attention.last[camera][area]).mean() if against_last else picture.mean())
    return np.asarray(values, np.float32) / 255.0


def rows_of(attention: "Attention", patches: list[int]) -> list[int]:
    """Which queries these patches are: of the frame to come, or, in the encoder, of the newest that is seen."""
    places = _places(attention)
    frame = attention.spec.context - (attention.stage == "encoder")
    rows = {
        (one.camera, one.row, one.column): row for row, one in enumerate(attention.queries) if one.kind == "patch" and one.frame == frame
    }
    found = [rows[places[patch]] for patch in patches if places[patch] in rows]
    if not found:
        raise AttentionError("none of these patches is a query of this stage")
    return found


def numbers_in(text: str, count: int, what: str) -> list[int]:
    """`0,5,10-15` as numbers, each once. Raises AttentionError."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})(?:-(\d{1,9}))?\s*", part)
        if match is None:
            raise AttentionError(f"{text!r} names no {what}: give numbers and ranges as 0,5,10-15")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= count:
            raise AttentionError(f"there is no {what} {part.strip()}: they are 0 to {count - 1}")
        found += range(first, last + 1)
    return list(dict.fromkeys(found))


def _places(attention: "Attention") -> list[tuple[str, int, int]]:
    """Camera, row and column of each patch of one frame."""
    spec = attention.spec
    shapes = {camera.name: grid(camera, spec.patch) for camera in spec.cameras}
    return [(name, row, column) for name, (rows, columns) in shapes.items() for row in range(rows) for column in range(columns)]


def _share(given: str, text: str) -> float:
    try:
        value = float(given)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise AttentionError(f"{text!r}: give a share from 0 to 1, such as brightness:0.5")
    return value
