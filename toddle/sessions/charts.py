"""Small charts on the viewer's brush: axes over time, lines, bars and lanes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nodes.viewer import theme
from nodes.viewer.plots import time_ticks
from nodes.viewer.theme import Colour
from nodes.viewer.widgets import Brush, Rect, clock, polyline
from worldmodel.palette import PALETTE

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
AXIS_W, AXIS_H = 62, 18


class Chart:
    """A panel with axes: x from 0 to `end` in bins of `bin_w`, y from `low` to `high`; `log`: y is logarithmic."""

    def __init__(self, brush: Brush, room: Rect, end: float, y: tuple[float, float], *, bin_w: float = 1.0, log: bool = False) -> None:
        self.brush = brush
        self.area = Rect(room.x + brush.px(AXIS_W), room.y, room.w - brush.px(AXIS_W), room.h - brush.px(AXIS_H))
        self.end, self.bin_w, self.log = max(end, 1e-9), bin_w, log
        self.low, self.high = y

    def x(self, value: float | FloatArray) -> Any:
        return self.area.x + np.clip(np.asarray(value) / self.end, 0.0, 1.0) * (self.area.w - 1)

    def y(self, value: float | FloatArray) -> Any:
        low, high = (np.log(self.low), np.log(self.high)) if self.log else (self.low, self.high)
        given = np.log(np.maximum(value, self.low)) if self.log else np.asarray(value)
        return self.area.bottom - 1 - np.clip((given - low) / (high - low), 0.0, 1.0) * (self.area.h - 1)

    def levels(self, marks: Sequence[tuple[float, str]]) -> None:
        """Horizontal lines with their labels."""
        for value, label in marks:
            y = round(float(self.y(value)))
            self.brush.fill(Rect(self.area.x, y, self.area.w, 1), theme.GRID)
            self.brush.text(label, self.area.x - self.brush.px(6), y, theme.SMALL - 1, theme.FAINT, align="right")

    def times(self) -> None:
        """The time axis."""
        for at_s in time_ticks(self.end):
            x = round(float(self.x(at_s)))
            self.brush.fill(Rect(x, self.area.bottom, 1, self.brush.px(3)), theme.BORDER)
            align = "left" if at_s == 0 else "right" if x > self.area.right - self.brush.px(14) else "middle"
            self.brush.text(clock(at_s), x, self.area.bottom + self.brush.px(10), theme.SMALL - 1, theme.FAINT, align=align)

    def promise(self, value: float, label: str) -> None:
        """A dashed line across, with words at its right end."""
        y, dash = round(float(self.y(value))), self.brush.px(4)
        for x in range(self.area.x, self.area.right - dash, 2 * dash):
            self.brush.fill(Rect(x, y, dash, 1), theme.MUTED)
        self.brush.text(label, self.area.right, y - self.brush.px(7), theme.SMALL - 1, theme.MUTED, align="right")

    def line(self, values: FloatArray, known: np.ndarray[Any, Any], colour: Colour) -> None:
        """A line through the middles of the bins that are known, broken where they are not."""
        middles = (np.arange(len(values)) + 0.5) * self.bin_w
        edges = np.flatnonzero(np.diff(np.concatenate([[False], known, [False]]).astype(np.int8)))
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            part = slice(first, last)
            polyline(self.brush.picture, self.x(middles[part]), self.y(values[part]), colour, max(1, round(1.4 * self.brush.scale)))

    def span(self, index: int) -> tuple[int, int]:
        """Left and right pixel of a bin."""
        left, right = round(float(self.x(index * self.bin_w))), round(float(self.x((index + 1) * self.bin_w)))
        return left, max(right, left + 1)

    def band(self, low: FloatArray, high: FloatArray, known: np.ndarray[Any, Any], colour: Colour) -> None:
        """A block from `low` to `high` in each known bin."""
        for index in np.flatnonzero(known):
            left, right = self.span(int(index))
            top, bottom = round(float(self.y(high[index]))), round(float(self.y(low[index])))
            self.brush.fill(Rect(left, top, right - left, max(1, bottom - top)), colour)

    def flags(self, there: np.ndarray[Any, Any], colour: Colour) -> None:
        """A thin upright line in each bin that is flagged."""
        for index in np.flatnonzero(there):
            left, right = self.span(int(index))
            self.brush.fill(Rect((left + right) // 2, self.area.y, max(1, self.brush.px(1)), self.area.h), colour)


def choice_colour(index: int) -> Colour:
    """The colour that the world model's bars give to a choice, calmer."""
    return dim(PALETTE[index % len(PALETTE)], 0.7)


def dim(colour: Colour, share: float = 0.35) -> Colour:
    """A colour on its way to the panel's."""
    red, green, blue = (round(share * a + (1 - share) * b) for a, b in zip(colour, theme.PANEL, strict=True))
    return red, green, blue


def legend(brush: Brush, rect: Rect, entries: Sequence[tuple[str, Colour]]) -> None:
    """Names with their colours, from the right end of a panel's title row; those that find no room are left out."""
    x = rect.right - brush.px(theme.PAD)
    y = rect.y + brush.px(theme.TITLE_H) / 2 + 1
    for name, colour in reversed(entries):
        if x - brush.text_width(name, theme.SMALL) < rect.x + rect.w // 4:
            return
        x -= brush.text(name, x, y, theme.SMALL, theme.MUTED, align="right") + brush.px(5)
        side = brush.px(8)
        x -= side
        brush.fill(Rect(x, round(y) - side // 2, side, side), colour)
        x -= brush.px(12)


def decades(low: float, high: float) -> list[float]:
    """Round values 1, 2, 5, 10, ... between low and high; powers of ten alone when there are many."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1.0, 2.0, 5.0) if len(powers) <= 3 else (1.0,)
    return [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
