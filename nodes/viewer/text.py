"""Smooth text: OpenCV's strokes drawn large, shrunk once, kept, and copied from then on."""

from collections import OrderedDict
from typing import Any

import cv2
import numpy as np

from nodes.viewer.theme import Colour

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
UInt16Array = np.ndarray[Any, np.dtype[np.uint16]]
Ink = tuple[UInt16Array, UInt16Array]
"""A text in a colour, [h, w, 3] each: what it adds, and how much of 256 it keeps of the picture below."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_OVERSAMPLE = 4
_CAP_PX = 21.0  # height of a capital at font scale 1


class TextBank:
    """Draws ASCII text on pictures [H, W, 3]; keeps the last `limit` texts.

    `size` is a font size in pixels (capitals are 0.7 of it), `y` the line's middle.
    """

    def __init__(self, limit: int = 1024) -> None:
        self._limit = limit
        self._inks: OrderedDict[tuple[str, float, bool, Colour], Ink] = OrderedDict()
        self._widths: OrderedDict[tuple[str, float, bool], float] = OrderedDict()

    def width(self, text: str, size: float, bold: bool = False) -> int:
        """Pixels that a text takes."""
        key = (text, size, bold)
        if key not in self._widths:
            scale = 0.7 * size / _CAP_PX
            (width, _), _ = cv2.getTextSize(text, _FONT, scale * _OVERSAMPLE, 1)
            self._widths[key] = width / _OVERSAMPLE
            if len(self._widths) > self._limit:
                self._widths.popitem(last=False)
        return int(self._widths[key] + 0.999)

    def fit(self, text: str, size: float, width: int, bold: bool = False) -> str:
        """The text, shortened with ".." so that it takes at most `width` pixels."""
        if self.width(text, size, bold) <= width:
            return text
        low, high = 0, len(text)
        while low < high:
            middle = (low + high + 1) // 2
            if self.width(text[:middle] + "..", size, bold) <= width:
                low = middle
            else:
                high = middle - 1
        return text[:low].rstrip() + ".." if low else ""

    def draw(
        self, picture: UInt8Array, text: str, x: float, y: float, size: float, colour: Colour,
        bold: bool = False, align: str = "left", width: int | None = None,
    ) -> int:  # fmt: skip
        """Draw one line; returns the pixels it took. `align`: x is its left end, middle or right end."""
        if width is not None:
            text = self.fit(text, size, width, bold)
        if not text:
            return 0
        taken = self.width(text, size, bold)
        left = x - {"left": 0.0, "middle": taken / 2, "right": float(taken)}[align]
        ink = self._ink(text, size, bold, colour)
        _blend(picture, ink, round(left) - _pad(size), round(y - ink[1].shape[0] / 2))
        return taken

    def _ink(self, text: str, size: float, bold: bool, colour: Colour) -> Ink:
        key = (text, size, bold, colour)
        ink = self._inks.get(key)
        if ink is None:
            cover = _render(text, size, bold).astype(np.uint16)
            cover = cover + cover // 128  # 0..256, so that a shift by 8 bits divides
            ink = self._inks[key] = (cover * np.asarray(colour, dtype=np.uint16), np.repeat(np.uint16(256) - cover, 3, axis=2))
            if len(self._inks) > self._limit:
                self._inks.popitem(last=False)
        else:
            self._inks.move_to_end(key)
        return ink


def _pad(size: float) -> int:
    return max(2, round(size * 0.2))


def _render(text: str, size: float, bold: bool) -> UInt8Array:
    """The coverage of a text, uint8 [h, w, 1]; the middle row is the middle of its capitals."""
    text = text.encode("ascii", "replace").decode()
    scale = 0.7 * size / _CAP_PX * _OVERSAMPLE
    thickness = max(1, round(size * (0.15 if bold else 0.1) * _OVERSAMPLE))
    (width, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
    pad = _pad(size)
    half = round(size * 0.75) + 1
    shape = (2 * half, -(-width // _OVERSAMPLE) + 2 * pad)
    large = np.zeros((shape[0] * _OVERSAMPLE, shape[1] * _OVERSAMPLE), dtype=np.uint8)
    baseline = round((half + 0.35 * size) * _OVERSAMPLE)
    cv2.putText(large, text, (pad * _OVERSAMPLE, baseline), _FONT, scale, 255, thickness, cv2.LINE_AA)
    return np.asarray(cv2.resize(large, shape[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)[..., None]


def _blend(picture: UInt8Array, ink: Ink, x: int, y: int) -> None:
    """Lay the ink on the picture, clipped at its edges."""
    added, kept = ink
    height, width = picture.shape[:2]
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(width, x + kept.shape[1]), min(height, y + kept.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    rows, columns = slice(y0 - y, y1 - y), slice(x0 - x, x1 - x)
    part = picture[y0:y1, x0:x1]
    mixed = part * kept[rows, columns]
    mixed += added[rows, columns]
    mixed >>= 8
    part[:] = mixed
