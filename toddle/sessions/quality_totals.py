"""The quality of a session in total: histograms of intervals and actions, disk use by topic."""

from typing import NamedTuple

import numpy as np

from nodes.viewer import theme
from nodes.viewer.labels import aside
from nodes.viewer.theme import Colour
from nodes.viewer.widgets import Brush, Rect, number
from protocol.messages import Action
from storage.info import SessionInfo
from storage.quality.intervals import seconds
from storage.quality.measure import Meter
from storage.quality.report import Quality
from storage.quality.timeline import Timeline
from toddle.sessions.charts import choice_colour, decades, dim
from toddle.sessions.common import size

LINES: tuple[Colour, ...] = (theme.BLUE, theme.AMBER, theme.TEAL, theme.PINK, theme.YELLOW, theme.RED)
HISTOGRAM_BARS = 56


class Seen(NamedTuple):
    """All that is drawn."""

    info: SessionInfo
    quality: Quality
    meter: Meter

    @property
    def line(self) -> Timeline:
        return self.meter.timeline

    @property
    def frames(self) -> str:
        """The topic of frames that is shown."""
        return next((name for name in self.quality.topics if name.startswith("frame/")), "")

    @property
    def nominal_hz(self) -> float:
        return self.quality.topics[self.frames].intervals.nominal_hz if self.frames else 0.0


def draw_intervals(brush: Brush, rect: Rect, seen: Seen) -> None:
    room = brush.panel(rect, "Intervals, all")
    buckets = seen.meter.intervals[seen.frames].buckets if seen.frames in seen.meter.intervals else {}
    if not buckets:
        return brush.note("no two frames follow each other", room)
    times = seen.quality.topics[seen.frames].intervals
    rows = (("p50", times.p50_s), ("p95", times.p95_s), ("p99", times.p99_s), ("longest", times.max_s))
    table_h = brush.px(34)
    for index, (name, value) in enumerate(rows):
        x = room.x + room.w * index // 4
        brush.text(name, x, room.y + brush.px(6), theme.SMALL, theme.MUTED)
        brush.text(ms(value), x, room.y + brush.px(21), theme.BODY, theme.TEXT, bold=True)
    low, high = interval_span(seen)
    counts = np.zeros(HISTOGRAM_BARS)
    for bucket, count in buckets.items():
        share = (np.log(seconds(bucket)) - np.log(low)) / (np.log(high) - np.log(low))
        counts[int(np.clip(share * HISTOGRAM_BARS, 0, HISTOGRAM_BARS - 1))] += count
    area = Rect(room.x, room.y + table_h, room.w, room.h - table_h - brush.px(18))
    for index in np.flatnonzero(counts):
        h = round(float(np.log1p(counts[index]) / np.log1p(counts.max())) * area.h)
        left, right = (area.x + area.w * int(edge) // HISTOGRAM_BARS for edge in (index, index + 1))
        brush.fill(Rect(left, area.bottom - h, right - left - 1, h), theme.BLUE)
    brush.fill(Rect(area.x, area.bottom, area.w, 1), theme.BORDER)
    last = float(area.x)
    for value in decades(low, high):
        x = area.x + (np.log(value) - np.log(low)) / (np.log(high) - np.log(low)) * area.w
        half = brush.text_width(ms(value), theme.SMALL - 1) / 2
        if x - half > last and x + half < area.right:
            brush.text(ms(value), x, area.bottom + brush.px(10), theme.SMALL - 1, theme.FAINT, align="middle")
            last = x + half + brush.px(6)
    aside(brush, rect, "counts and times are logarithmic")
    return None


def draw_actions(brush: Brush, rect: Rect, seen: Seen) -> None:
    """A bar for each choice, a histogram for each number; as many as there is room for."""
    room = brush.panel(rect, "Actions, all")
    actions = seen.quality.actions
    if not actions.count:
        return brush.note("no actions", room)
    rows = len(actions.choices) or len(actions.dimensions)
    height = min(max(room.h // max(rows, 1), brush.px(20)), brush.px(24 if actions.choices else 52))
    fit = room.h // height
    most = max((taken.count for taken in actions.choices), default=0) or 1
    for index, taken in enumerate(actions.choices[:fit]):
        told = f"{taken.count:,}  {100 * taken.count / actions.count:.1f} %"
        area = _row(brush, Rect(room.x, room.y + index * height, room.w, height), named(taken.action), told)
        if taken.count:
            brush.fill(Rect(area.x, area.y, max(1, round(area.w * taken.count / most)), area.h), choice_colour(index))
    for index, row in enumerate(actions.dimensions[:fit]):
        told = f"{number(row.min, 2)} to {number(row.max, 2)}"
        area = _row(brush, Rect(room.x, room.y + index * height, room.w, height), row.name, told)
        for place in np.flatnonzero(row.bins):
            x0, x1 = (area.x + area.w * int(edge) // len(row.bins) for edge in (place, place + 1))
            h = max(1, round(area.h * row.bins[place] / max(row.bins)))
            brush.fill(Rect(x0, area.bottom - h, x1 - x0 - 1, h), LINES[index % len(LINES)])
        brush.fill(Rect(area.x, area.bottom, area.w, 1), theme.BORDER)
    if rows > fit:
        brush.text(
            f"and {rows - fit} more", rect.right - brush.px(theme.PAD), rect.y + brush.px(14), theme.SMALL, theme.FAINT, align="right"
        )
    return None


def _row(brush: Brush, rect: Rect, name: str, told: str) -> Rect:
    """A name at the left, figures at the right; the room between them."""
    name_w, told_w = brush.px(84), brush.px(108)
    brush.text(name, rect.x, rect.y + rect.h / 2, theme.SMALL, theme.TEXT, width=name_w)
    brush.text(told, rect.right, rect.y + rect.h / 2, theme.SMALL, theme.MUTED, align="right", width=told_w)
    return Rect(rect.x + name_w + brush.px(6), rect.y + brush.px(3), rect.w - name_w - told_w - brush.px(12), rect.h - brush.px(6))


def draw_disk(brush: Brush, rect: Rect, seen: Seen) -> None:
    """The largest topics: stored bytes, and how much a codec saved."""
    room = brush.panel(rect, "Disk, by topic")
    topics = sorted(seen.info.topics.items(), key=lambda item: -item[1].bytes)
    height = brush.px(19)
    for index, (name, topic) in enumerate(topics[: room.h // height]):
        raw = seen.quality.topics[name].raw_bytes if name in seen.quality.topics else 0
        told = f"{size(topic.bytes)} of {size(raw)}" if raw > topic.bytes else size(topic.bytes)
        area = _row(brush, Rect(room.x, room.y + index * height, room.w, height), name, told)
        brush.fill(Rect(area.x, area.y, max(1, area.w * topic.bytes // topics[0][1].bytes), area.h), dim(theme.TEAL, 0.8))


def named(action: Action) -> str:
    return " ".join(f"{name} {value:g}" for name, value in action.items())


def ms(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"


def interval_span(seen: Seen) -> tuple[float, float]:
    """From which to which interval the axes go."""
    times = seen.quality.topics[seen.frames].intervals
    middle = 1 / seen.nominal_hz if seen.nominal_hz else times.p50_s
    return min(middle, times.p50_s) / 2.2, 1.3 * max(middle * 2, times.max_s)
