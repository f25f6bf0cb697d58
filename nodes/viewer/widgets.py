"""Drawing: rectangles, panels, fitted pictures, marks, bars, and plots. All pictures are RGB uint8 [H, W, 3]."""

import math
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Self

import cv2
import numpy as np

from nodes.viewer import theme
from nodes.viewer.text import TextBank
from nodes.viewer.theme import Colour

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]
FloatArray = np.ndarray[Any, np.dtype[np.float64]]


class Rect(NamedTuple):
    """A rectangle in pixels: left, top, width, height."""

    x: int
    y: int
    w: int
    h: int

    @property
    def right(self) -> int:
        return self.x + self.w

    @property
    def bottom(self) -> int:
        return self.y + self.h

    def inset(self, dx: int, dy: int) -> Self:
        """Smaller by dx at left and right, dy at top and bottom."""
        return type(self)(self.x + dx, self.y + dy, max(1, self.w - 2 * dx), max(1, self.h - 2 * dy))

    def below(self, dy: int) -> Self:
        """Without its first dy rows."""
        return type(self)(self.x, self.y + dy, self.w, max(1, self.h - dy))

    def middle(self, w: int, h: int) -> Self:
        """A rectangle w x h in the middle of this one."""
        return type(self)(self.x + (self.w - w) // 2, self.y + (self.h - h) // 2, w, h)


class Brush:
    """Draws on one picture, in units of `scale` (1 at 1280x720), with text and fitted pictures kept."""

    def __init__(self, scale: float, pictures_kept: int = 96) -> None:
        self.scale = scale
        self.bank = TextBank()
        self.picture: UInt8Array = np.zeros((1, 1, 3), dtype=np.uint8)
        self._kept: OrderedDict[Hashable, UInt8Array] = OrderedDict()
        self._limit = pictures_kept

    def px(self, value: float) -> int:
        """Pixels on this picture for pixels at 1280x720."""
        return max(1, round(value * self.scale))

    def text(
        self, text: str, x: float, y: float, size: float = theme.BODY, colour: Colour = theme.TEXT,
        bold: bool = False, align: str = "left", width: int | None = None,
    ) -> int:  # fmt: skip
        """One line of text around the row y; returns the pixels it took."""
        return self.bank.draw(self.picture, text, x, y, size * self.scale, colour, bold, align, width)

    def text_width(self, text: str, size: float = theme.BODY, bold: bool = False) -> int:
        return self.bank.width(text, size * self.scale, bold)

    def fill(self, rect: Rect, colour: Colour) -> None:
        cv2.rectangle(self.picture, (rect.x, rect.y), (rect.right - 1, rect.bottom - 1), colour, cv2.FILLED)

    def outline(self, rect: Rect, colour: Colour, thickness: int = 1) -> None:
        """A border inside the rectangle."""
        t = thickness
        self.fill(Rect(rect.x, rect.y, rect.w, t), colour)
        self.fill(Rect(rect.x, rect.bottom - t, rect.w, t), colour)
        self.fill(Rect(rect.x, rect.y, t, rect.h), colour)
        self.fill(Rect(rect.right - t, rect.y, t, rect.h), colour)

    def panel(self, rect: Rect, title: str) -> Rect:
        """A titled panel; returns the room inside it."""
        self.fill(rect, theme.PANEL)
        self.outline(rect, theme.BORDER)
        pad, title_h = self.px(theme.PAD), self.px(theme.TITLE_H)
        self.text(title.upper(), rect.x + pad, rect.y + title_h / 2 + 1, theme.SMALL, theme.MUTED, bold=True)
        return Rect(rect.x + pad, rect.y + title_h, rect.w - 2 * pad, rect.h - title_h - pad)

    def fitted(self, key: Hashable, image: UInt8Array, w: int, h: int) -> UInt8Array:
        """The image at w x h pixels: nearest neighbour when it grows, averaged when it shrinks. Kept under `key`."""
        full = (key, w, h)
        made = self._kept.get(full)
        if made is None:
            grows = w >= image.shape[1] and h >= image.shape[0]
            way = cv2.INTER_NEAREST if grows else cv2.INTER_AREA
            made = np.asarray(cv2.resize(image, (w, h), interpolation=way), dtype=np.uint8)
            self._keep(full, made)
        else:
            self._kept.move_to_end(full)
        return made

    def forget(self) -> None:
        """Drop the kept pictures."""
        self._kept.clear()

    def _keep(self, key: Hashable, image: UInt8Array) -> None:
        self._kept[key] = image
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def heat(self, key: Hashable, values: UInt8Array, gain: int) -> UInt8Array:
        """Values uint8 [H, W] as colours, dark to bright, after `gain`. Kept under `key`."""
        made = self._kept.get(key)
        if made is None:
            bgr = cv2.applyColorMap(cv2.convertScaleAbs(values, alpha=gain), cv2.COLORMAP_INFERNO)
            made = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
            self._keep(key, made)
        return made

    def paste(self, key: Hashable, image: UInt8Array, room: Rect) -> Rect:
        """The image as large as fits into the room, in its middle; returns where it is."""
        w, h = fit_size(image.shape[1], image.shape[0], room.w, room.h)
        place = room.middle(w, h)
        self.put(self.fitted(key, image, w, h), place.x, place.y)
        return place

    def put(self, image: UInt8Array, x: int, y: int) -> None:
        """Copy an image as it is."""
        height, width = self.picture.shape[:2]
        part = image[: max(0, height - y), : max(0, width - x)]
        self.picture[y : y + part.shape[0], x : x + part.shape[1]] = part

    def note(self, text: str, room: Rect, colour: Colour = theme.FAINT) -> None:
        """A muted line in the middle of a room: what is missing."""
        self.text(text, room.x + room.w / 2, room.y + room.h / 2, theme.BODY, colour, align="middle", width=room.w)

    def mark(self, shape: str, x: float, y: float, colour: Colour) -> None:
        """A small sign around (x, y): dot, ring, bars, square or cross."""
        radius = 4.5 * self.scale
        fixed = 4  # bits after the point, so that small shapes are smooth
        unit = 1 << fixed

        def at(value: float) -> int:
            return round(value * unit)

        if shape in ("dot", "ring"):
            thick = -1 if shape == "dot" else max(1, round(1.5 * self.scale))
            cv2.circle(self.picture, (at(x), at(y)), at(radius), colour, thick, cv2.LINE_AA, fixed)
        elif shape == "cross":
            for sign in (1, -1):
                ends = (at(x - radius), at(y - sign * radius)), (at(x + radius), at(y + sign * radius))
                cv2.line(self.picture, *ends, colour, max(2, round(2 * self.scale)), cv2.LINE_AA, fixed)
        elif shape == "bars":
            r = round(radius)
            self.fill(Rect(round(x) - r, round(y) - r, max(2, r - 1), 2 * r), colour)
            self.fill(Rect(round(x) + 1, round(y) - r, max(2, r - 1), 2 * r), colour)
        else:
            r = max(2, round(radius * 0.8))
            self.fill(Rect(round(x) - r, round(y) - r, 2 * r, 2 * r), colour)


def fit_size(w: int, h: int, room_w: int, room_h: int) -> tuple[int, int]:
    """Largest size of the same shape inside the room; a whole multiple where that costs little room."""
    scale = min(room_w / w, room_h / h)
    if scale >= 3 and int(scale) / scale >= 0.92:
        scale = int(scale)
    return max(1, min(room_w, round(w * scale))), max(1, min(room_h, round(h * scale)))


def best_grid(count: int, w: int, h: int, room: Rect, gap: int, extra_h: int) -> tuple[int, int]:
    """Columns and rows that show `count` pictures of w x h largest, each with `extra_h` pixels of label.

    Among those that are nearly as large, the one with the fewest empty places and the most room for labels.
    """

    def zoom(columns: int) -> float:
        rows = -(-count // columns)
        cell_w = (room.w - gap * (columns - 1)) / columns
        cell_h = (room.h - gap * (rows - 1)) / rows - extra_h
        return min(cell_w / w, cell_h / h)

    zooms = {columns: zoom(columns) for columns in range(1, count + 1)}
    good = [columns for columns, z in zooms.items() if z >= 0.88 * max(zooms.values())]
    columns = min(good, key=lambda n: (-(-count // n) * n - count, n))
    return columns, -(-count // columns)


def polyline(picture: UInt8Array, xs: FloatArray, ys: FloatArray, colour: Colour, thickness: int) -> None:
    """A smooth line through pixel positions."""
    if len(xs) == 1:
        cv2.circle(picture, (round(float(xs[0])), round(float(ys[0]))), thickness + 1, colour, -1, cv2.LINE_AA)
    elif len(xs) > 1:
        points = np.round(np.stack([xs, ys], axis=1) * 16).astype(np.int32)
        cv2.polylines(picture, [points], False, colour, thickness, cv2.LINE_AA, 4)


def number(value: float | None, digits: int = 3) -> str:
    """A short figure: 1,234 and 0.00123, never longer than about 9 characters."""
    if value is None:
        return "-"
    size = abs(value)
    if not math.isfinite(size):
        return str(value)
    if size >= 1e6:
        return f"{value / 1e6:.2f}M"
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:.{max(1, digits - 1)}f}"
    if size == 0:
        return "0"
    if size >= 1e-4:
        return f"{value:.{digits if size >= 1e-2 else 2}g}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def clock(seconds: float) -> str:
    """1:02:03, or 02:03 below an hour."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60:02d}:{rest % 60:02d}"


def ticks(low: float, high: float, count: int) -> Sequence[float]:
    """About `count` round values between low and high."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, count)
    power = 10.0 ** np.floor(np.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
    return [float(v) for v in np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1) * step]
