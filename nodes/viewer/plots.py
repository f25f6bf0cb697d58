"""The two plots of a run: losses on a log scale, and skill with accuracies."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from nodes.viewer import theme
from nodes.viewer.curves import Curve
from nodes.viewer.state import ViewState
from nodes.viewer.theme import Colour
from nodes.viewer.widgets import Brush, FloatArray, Rect, clock, number, polyline, ticks

_SKILL_FLOOR = -0.5  # an untrained model can be far below copy-last: its curve then runs along this line


class Series(NamedTuple):
    """One line: its metric's name, its short name in the legend, its colour."""

    metric: str
    label: str
    colour: Colour


LOSS = (
    Series("copy_last_mse", "copy-last", theme.AMBER), Series("mse", "mse", theme.TEAL),
    Series("loss", "loss", theme.BLUE),
)  # fmt: skip
LIVE = (
    Series("live_copy_last_mse", "copy-last", theme.AMBER), Series("live_mse", "live error", theme.BLUE),
)  # fmt: skip
SKILL = (
    Series("hit_at_3px", "hit", theme.YELLOW), Series("cf_accuracy", "cf", theme.TEAL),
    Series("skill_action_blind", "vs blind", theme.PINK), Series("skill_copy_last", "skill", theme.BLUE),
)  # fmt: skip


def draw_loss(brush: Brush, rect: Rect, state: ViewState) -> None:
    """Losses of the trainer; of the live predictions where there is no trainer."""
    room = brush.panel(rect, "Loss")
    series = [s for s in LOSS if len(state.curves[s.metric])] or [s for s in LIVE if len(state.curves[s.metric])]
    if not series:
        missing = state.has_kind("trainer") is False
        brush.note("no trainer in this graph" if missing else "waiting for the first loss", room)
        return
    _legend(brush, rect, series, state.curves)
    lines = [(s, *state.curves[s.metric].points()) for s in series]
    lines = [(s, xs, np.log10(np.maximum(ys, 1e-9))) for s, xs, ys in lines]
    low = float(np.floor(min(ys.min() for _, _, ys in lines) + 1e-9))
    high = float(max(low + 1, np.ceil(max(ys.max() for _, _, ys in lines) - 1e-9)))
    step = max(1, int(np.ceil((high - low) / 4)))
    marks = [(float(level), f"1e{level}") for level in range(int(low), int(high) + 1, step)]
    _plot(brush, room, lines, (low, high), marks)


def draw_skill(brush: Brush, rect: Rect, state: ViewState) -> None:
    """Scores of the held-out probe: 1 is perfect, skill 0 is no better than copying the last frame."""
    room = brush.panel(rect, "Skill")
    series = [s for s in SKILL if len(state.curves[s.metric])]
    if not series:
        missing = state.has_kind("trainer") is False
        brush.note("no trainer in this graph" if missing else "waiting for the first probe", room)
        return
    _legend(brush, rect, series, state.curves)
    lines = [(s, *state.curves[s.metric].points()) for s in series]
    below = min(float(ys.min()) for _, _, ys in lines)
    low = _SKILL_FLOOR if below < -0.02 else 0.0
    lines = [(s, xs, np.clip(ys, low, 1.0)) for s, xs, ys in lines]
    levels = (-0.5, 0.0, 0.5, 1.0) if low < 0 else (0.0, 0.25, 0.5, 0.75, 1.0)
    marks = [(level, f"{level:g}") for level in levels]
    _plot(brush, room, lines, (low, 1.0), marks)


def _legend(brush: Brush, rect: Rect, series: Sequence[Series], curves: dict[str, Curve]) -> None:
    """Names and last values, from the right end of the panel's title row."""
    x = rect.right - brush.px(theme.PAD)
    y = rect.y + brush.px(theme.TITLE_H) / 2 + 1
    for s in series:
        x -= brush.text(number(curves[s.metric].last, 2), x, y, theme.SMALL, theme.TEXT, align="right") + brush.px(4)
        x -= brush.text(s.label, x, y, theme.SMALL, theme.MUTED, align="right") + brush.px(4)
        swatch = brush.px(8)
        brush.fill(Rect(x - swatch, round(y) - brush.px(1), swatch, brush.px(2)), s.colour)
        x -= swatch + brush.px(9)


def _plot(
    brush: Brush, room: Rect, lines: Sequence[tuple[Series, FloatArray, FloatArray]],
    span: tuple[float, float], marks: Sequence[tuple[float, str]],
) -> None:  # fmt: skip
    """Axes, grid and lines. `marks`: values of y with their labels; x is seconds of the run."""
    axis_w, axis_h = brush.px(30), brush.px(15)
    area = Rect(room.x + axis_w, room.y + brush.px(5), room.w - axis_w - brush.px(4), room.h - axis_h - brush.px(5))
    end_s = max(1.0, max(float(xs[-1]) for _, xs, _ in lines))
    low, high = span

    def to_y(value: float | FloatArray) -> float | FloatArray:
        return area.bottom - 1 - (value - low) / (high - low) * (area.h - 1)

    for value, label in marks:
        y = round(float(to_y(value)))
        brush.fill(Rect(area.x, y, area.w, 1), theme.FAINT if value == 0 and low < 0 else theme.GRID)
        brush.text(label, area.x - brush.px(6), y, theme.SMALL - 1, theme.FAINT, align="right")
    for at_s in time_ticks(end_s):
        x = area.x + round(at_s / end_s * (area.w - 1))
        brush.fill(Rect(x, area.bottom, 1, brush.px(3)), theme.BORDER)
        align = "left" if at_s == 0 else "right" if x > area.right - brush.px(14) else "middle"
        brush.text(clock(at_s), x, area.bottom + brush.px(10), theme.SMALL - 1, theme.FAINT, align=align)
    thickness = max(1, round(1.4 * brush.scale))
    for series, xs, ys in lines:
        polyline(brush.picture, area.x + xs / end_s * (area.w - 1), np.asarray(to_y(ys)), series.colour, thickness)


def time_ticks(end_s: float) -> Sequence[float]:
    """Two to five round times from 0 to the end."""
    if end_s < 10:
        return ticks(0.0, end_s, 3)
    steps = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
    step = next((s for s in steps if end_s / s <= 5), 864000)
    return [float(v) for v in np.arange(0, end_s + 0.5, step)]
