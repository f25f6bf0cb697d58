"""The quality of a session as one picture: over time at the left, in total at the right."""

from typing import Any

import numpy as np

from nodes.viewer import theme
from nodes.viewer.widgets import Brush, Rect, ticks
from storage.info import SessionInfo
from storage.quality.measure import Meter
from storage.quality.report import Quality
from toddle.sessions.charts import Chart, choice_colour, decades, dim, legend
from toddle.sessions.common import duration, size
from toddle.sessions.quality_totals import LINES, Seen, draw_actions, draw_disk, draw_intervals, interval_span, ms, named

Picture = np.ndarray[Any, np.dtype[np.uint8]]

WIDTH, SCALE = 1600, 1.25
SIDE_W = 336
HEIGHTS = (118, 118, 118, 136, 214)
MOST_BINS = 240
LANES = (
    ("gap", theme.RED), ("frozen", theme.RED), ("unchanged", theme.AMBER), ("dark", theme.AMBER), ("saturated", theme.AMBER),
    ("safe", theme.PINK), ("failed", theme.PINK),
)  # fmt: skip
MARKS = (("success", theme.TEAL), ("failure", theme.RED), ("discard", theme.PINK), ("reset", theme.AMBER))


def draw(info: SessionInfo, quality: Quality, meter: Meter) -> Picture:
    """The picture, RGB uint8 [H, 1600, 3]; the meter's timeline gets as coarse as it is drawn."""
    seen = Seen(info, quality, meter)
    line = seen.line
    while line.used > MOST_BINS or (seen.frames and line.width_s < 2 * quality.topics[seen.frames].intervals.p50_s):
        line.widen()
    brush = Brush(SCALE)
    heights = [brush.px(height) for height in HEIGHTS]
    gap, margin, header, side_w = (brush.px(value) for value in (theme.GAP, theme.MARGIN, theme.HEADER_H, SIDE_W))
    tops = [header + sum(heights[:i]) + gap * i for i in range(len(heights))]
    brush.picture = np.full((tops[-1] + heights[-1] + margin, WIDTH, 3), theme.BACKGROUND, dtype=np.uint8)
    _header(brush, Rect(margin, 0, WIDTH - 2 * margin, header), seen)
    left_w = WIDTH - 2 * margin - gap - side_w
    panels = (_rate, _intervals, _brightness, _actions, _happened)
    for panel, top, height in zip(panels, tops, heights, strict=True):
        panel(brush, Rect(margin, top, left_w, height), seen)
    x = margin + left_w + gap
    draw_intervals(brush, Rect(x, tops[0], side_w, tops[2] - tops[0] - gap), seen)
    draw_actions(brush, Rect(x, tops[2], side_w, tops[4] - tops[2] - gap), seen)
    draw_disk(brush, Rect(x, tops[4], side_w, heights[4]), seen)
    return brush.picture


def _header(brush: Brush, rect: Rect, seen: Seen) -> None:
    info, quality, y = seen.info, seen.quality, rect.y + rect.h / 2
    x = rect.x + brush.text("toddle", rect.x, y, theme.BRAND, theme.BLUE, bold=True) + brush.px(14)
    brush.text(info.name, x, y, theme.VALUE, width=rect.w // 3)
    missing = sum(topic.missing for topic in info.topics.values())
    figures = [
        ("recorded", duration(quality.seconds)), ("episodes", f"{len(info.episodes):,}"), ("frames", f"{quality.frames:,}"),
        ("steps", f"{quality.transitions:,}"), ("repeated", f"{quality.repeated:,}"), ("missing", f"{missing:,}"),
        ("on disk", size(info.disk_bytes)),
    ]  # fmt: skip
    x = rect.right
    for name, value in reversed(figures):
        width = max(brush.text_width(name.upper(), theme.SMALL), brush.text_width(value, theme.VALUE, bold=True))
        brush.text(name.upper(), x - width, y - brush.px(10), theme.SMALL, theme.MUTED)
        colour = theme.RED if name == "missing" and missing else theme.TEXT
        brush.text(value, x - width, y + brush.px(8), theme.VALUE, colour, bold=True)
        x -= width + brush.px(24)


def _over_time(brush: Brush, room: Rect, seen: Seen, y: tuple[float, float], log: bool = False) -> Chart:
    """A chart over the session's time, its last bin whole."""
    return Chart(brush, room, seen.line.used * seen.line.width_s, y, bin_w=seen.line.width_s, log=log)


def _rate(brush: Brush, rect: Rect, seen: Seen) -> None:
    room = brush.panel(rect, f"Rate of {seen.frames or 'frames'}, Hz")
    count, total = seen.line.get("interval/count"), seen.line.get("interval/sum")
    known = count > 0
    if not known.any():
        return brush.note("no two frames follow each other", room)
    rates = np.divide(count, total, out=np.zeros_like(total), where=total > 0)
    high = 1.25 * max(float(rates.max()), seen.nominal_hz)
    chart = _over_time(brush, room, seen, (0.0, high))
    chart.levels([(value, f"{abs(value):g}") for value in ticks(0.0, high, 4)])
    chart.times()
    if seen.nominal_hz:
        chart.promise(seen.nominal_hz, f"{seen.nominal_hz:g} Hz promised")
    gaps = seen.line.get("fault/gap") > 0
    chart.flags(gaps, theme.RED)
    chart.line(rates, known, theme.BLUE)
    legend(brush, rect, [("rate", theme.BLUE), *([("messages missing", theme.RED)] if gaps.any() else [])])
    return None


def _intervals(brush: Brush, rect: Rect, seen: Seen) -> None:
    room = brush.panel(rect, "Intervals between frames")
    count, total, longest = (seen.line.get(f"interval/{name}") for name in ("count", "sum", "max"))
    known = count > 0
    if not known.any():
        return brush.note("no two frames follow each other", room)
    means = np.divide(total, count, out=np.zeros_like(total), where=known)
    low, high = interval_span(seen)
    chart = _over_time(brush, room, seen, (low, high), log=True)
    chart.levels([(value, ms(value)) for value in decades(low, high)])
    chart.times()
    if seen.nominal_hz:
        chart.promise(1 / seen.nominal_hz, f"{ms(1 / seen.nominal_hz)} promised")
    chart.band(means, np.maximum(longest, means), known, dim(theme.AMBER, 0.55))
    chart.line(means, known, theme.BLUE)
    legend(brush, rect, [("mean", theme.BLUE), ("up to the longest", dim(theme.AMBER, 0.55))])
    return None


def _brightness(brush: Brush, rect: Rect, seen: Seen) -> None:
    room = brush.panel(rect, "Brightness of cameras, 0 to 255")
    cameras = seen.quality.cameras
    if not any(camera.frames for camera in cameras):
        return brush.note("no pictures", room)
    chart = _over_time(brush, room, seen, (0.0, 255.0))
    chart.levels([(value, f"{value}") for value in (0, 64, 128, 192, 255)])
    chart.times()
    entries = []
    for index, camera in enumerate(cameras):
        rows = seen.line.under(f"brightness/{camera.topic}/{camera.name}/")
        if not rows:
            continue
        colour = LINES[index % len(LINES)]
        known = rows["count"] > 0
        means = np.divide(rows["sum"], rows["count"], out=np.zeros_like(rows["sum"]), where=known)
        chart.band(rows["min"], rows["max"], known, dim(colour))
        chart.line(means, known, colour)
        entries.append((camera.name, colour))
    legend(brush, rect, entries)
    return None


def _actions(brush: Brush, rect: Rect, seen: Seen) -> None:
    actions = seen.quality.actions
    room = brush.panel(rect, "Actions")
    if not actions.count:
        return brush.note("no actions", room)
    if actions.choices:
        return _choices(brush, rect, room, seen)
    chart = _over_time(brush, room, seen, (-0.04, 1.04))
    chart.levels([(0.0, "low"), (0.5, ""), (1.0, "high")])
    chart.times()
    taken, known = seen.line.get("taken"), seen.line.get("taken") > 0
    entries = []
    for index, row in enumerate(actions.dimensions):
        low, high = _bounds(row.low, row.high, row.min, row.max)
        rows = seen.line.under(f"number/{row.name}/")
        means = np.divide(rows["sum"], taken, out=np.zeros_like(taken), where=known)
        colour = LINES[index % len(LINES)]
        if len(actions.dimensions) <= 2:
            chart.band((rows["min"] - low) / (high - low), (rows["max"] - low) / (high - low), known, dim(colour))
        entries.append((f"{row.name} {low:g} to {high:g}", colour))
        chart.line((means - low) / (high - low), known, colour)
    legend(brush, rect, entries)
    return None


def _choices(brush: Brush, rect: Rect, room: Rect, seen: Seen) -> None:
    """Shares of a discrete robot's actions, one above the other."""
    chart = _over_time(brush, room, seen, (0.0, 1.0))
    rows = [seen.line.get(f"choice/{index}") for index in range(len(seen.quality.actions.choices))]
    total = np.sum(rows, axis=0)
    known = total > 0
    below = np.zeros_like(total)
    for index, row in enumerate(rows):
        above = below + np.divide(row, total, out=np.zeros_like(total), where=known)
        chart.band(below, above, known & (row > 0), choice_colour(index))
        below = above
    chart.levels([(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")])
    chart.times()
    entries = [(named(taken.action), choice_colour(index)) for index, taken in enumerate(seen.quality.actions.choices)]
    legend(brush, rect, entries)


def _happened(brush: Brush, rect: Rect, seen: Seen) -> None:
    """Episodes with their marks, and a lane for each kind of fault."""
    room = brush.panel(rect, "Episodes and faults")
    chart = _over_time(brush, room, seen, (0.0, 1.0))
    names_x, height, y = chart.area.x - brush.px(6), brush.px(17), room.y + brush.px(4)
    _episodes(brush, chart, seen, y, height)
    brush.text("episode", names_x, y + height / 2, theme.SMALL, theme.MUTED, align="right")
    y += height + brush.px(14)
    for name, colour in MARKS:
        for index in np.flatnonzero(seen.line.get(f"mark/{name}")):
            brush.mark("dot", sum(chart.span(int(index))) / 2, y - brush.px(7), colour)
    for name, colour in LANES:
        spans = _frozen(chart, seen) if name == "frozen" else [chart.span(int(at)) for at in np.flatnonzero(seen.line.get(f"fault/{name}"))]
        brush.fill(Rect(chart.area.x, y + height - brush.px(2), chart.area.w, 1), theme.GRID)
        for left, right in spans:
            brush.fill(Rect(left, y, max(right - left, brush.px(2)), height - brush.px(4)), colour)
        brush.text(name, names_x, y + height / 2 - 1, theme.SMALL - 1, theme.TEXT if spans else theme.FAINT, align="right")
        y += height
    chart.times()
    legend(brush, rect, [(name, colour) for name, colour in MARKS if seen.line.get(f"mark/{name}").any()])


def _frozen(chart: Chart, seen: Seen) -> list[tuple[int, int]]:
    """Where a camera stood still, left and right in pixels."""
    runs = [run for camera in seen.quality.cameras for run in camera.frozen]
    return [(round(float(chart.x(run.start.at_s))), round(float(chart.x(run.until_s)))) for run in runs]


def _episodes(brush: Brush, chart: Chart, seen: Seen, y: int, height: int) -> None:
    """Blocks of two shades, with their numbers where there is room."""
    row = seen.line.get("episode") if "episode" in seen.line.series else np.full(seen.line.used, -np.inf)
    starts = [index for index in range(len(row)) if index == 0 or row[index] != row[index - 1]]
    for place, (first, last) in enumerate(zip(starts, [*starts[1:], len(row)], strict=True)):
        if not np.isfinite(row[first]):
            continue
        left, right = chart.span(first)[0], chart.span(last - 1)[1]
        brush.fill(Rect(left, y, right - left, height), (theme.RAISED, theme.BORDER)[place % 2])
        label = str(int(row[first]))
        if brush.text_width(label, theme.SMALL) + 4 <= right - left:
            brush.text(label, (left + right) / 2, y + height / 2, theme.SMALL, theme.TEXT, align="middle")


def _bounds(low: float | None, high: float | None, least: float, most: float) -> tuple[float, float]:
    """The bounds of an axis for a number; those that were seen where the robot names none."""
    if low is None or high is None or not high > low:
        low, high = least, most
    return (low, high) if high > low else (low - 1, low + 1)
