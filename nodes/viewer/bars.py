"""The text around the pictures: header, alarm banner, node table, the line for prompts, keys, help."""

from nodes.viewer import theme
from nodes.viewer.health import STALE_S, NodeHealth
from nodes.viewer.keys import KEYS
from nodes.viewer.state import ViewState
from nodes.viewer.theme import Colour
from nodes.viewer.widgets import Brush, Rect, clock, number


def draw_header(brush: Brush, rect: Rect, state: ViewState, now_mono_s: float) -> None:
    """Name, state and the run's main figures."""
    brush.fill(rect, theme.PANEL)
    brush.fill(Rect(rect.x, rect.bottom - 1, rect.w, 1), theme.BORDER)
    middle = rect.y + rect.h / 2
    right = rect.right - brush.px(theme.MARGIN)
    for label, value, width, colour in reversed(_figures(state, now_mono_s)):
        left = right - brush.px(width)
        brush.text(label, left, middle - brush.px(9), theme.SMALL - 0.5, theme.FAINT)
        brush.text(value, left, middle + brush.px(9), theme.VALUE, colour, bold=True, width=right - left)
        right = left - brush.px(10)
    x = rect.x + brush.px(theme.MARGIN + 2)
    x += brush.text("toddle", x, middle, theme.BRAND, theme.BLUE, bold=True) + brush.px(14)
    pills = _pills(state, now_mono_s)
    taken = sum(brush.text_width(text, theme.SMALL, bold=True) + brush.px(30) for text, _, _ in pills)
    name_w = max(0, right - x - taken)
    x += brush.text(state.run_name, x, middle + brush.px(1), theme.VALUE, width=name_w) + brush.px(14)
    for text, shape, colour in pills:
        x += _pill(brush, x, middle, text, shape, colour) + brush.px(8)


def _figures(state: ViewState, now_mono_s: float) -> list[tuple[str, str, int, Colour]]:
    """Label, value, width at 1280x720, colour."""
    metrics, frame, seen = state.metrics, state.frame, state.prediction
    error = state.error.mse if state.error else metrics.get("prediction_error")
    if error is None and seen is not None:
        error = seen.body.error
    skill = metrics.get("skill_copy_last")
    step = frame.step if frame is not None and frame.step is not None else None
    version = seen.body.weights_version if seen is not None else None
    good = theme.TEXT if skill is None else theme.TEAL if skill > 0 else theme.AMBER
    return [
        ("ELAPSED", clock(state.elapsed_s(now_mono_s)), 66, theme.TEXT),
        ("STEP", "-" if step is None else f"{step:,}", 62, theme.TEXT),
        ("SAMPLES", _count(metrics.get("samples")), 66, theme.TEXT),
        ("SAMPLES/S", number(metrics.get("samples_per_s")), 66, theme.TEXT),
        ("WEIGHTS", "-" if version is None else f"v{version}", 58, theme.TEXT),
        ("ERROR", number(error), 72, theme.TEXT),
        ("SKILL", "-" if skill is None else f"{max(skill, -99.0):+.2f}", 58, good),
    ]


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _pills(state: ViewState, now_mono_s: float) -> list[tuple[str, str, Colour]]:
    """Text, sign and colour of the robot's and the recorder's condition."""
    pills = []
    robot = state.health.of_kind("robot")
    if robot is not None:
        condition = robot.condition(now_mono_s)
        shape, colour = theme.CONDITIONS[condition]
        pills.append((condition.upper(), shape, colour))
    if state.recording(now_mono_s):
        pills.append(("REC", "dot", theme.RED))
    return pills


def _pill(brush: Brush, x: int, y: float, text: str, shape: str, colour: Colour) -> int:
    """A sign and a word in a frame; returns the pixels taken."""
    w = brush.text_width(text, theme.SMALL, bold=True) + brush.px(30)
    h = brush.px(22)
    box = Rect(x, round(y) - h // 2, w, h)
    brush.fill(box, theme.RAISED)
    brush.mark(shape, x + brush.px(12), y, colour)
    brush.text(text, x + brush.px(22), y, theme.SMALL, theme.TEXT, bold=True)
    return w


def draw_banner(brush: Brush, rect: Rect, state: ViewState) -> None:
    """The newest alarm, and how many more there are."""
    source_name, alarm = next(reversed(state.alarms.items()))
    brush.fill(rect, (74, 32, 24))
    brush.fill(Rect(rect.x, rect.y, brush.px(4), rect.h), theme.RED)
    y = rect.y + rect.h / 2
    x = rect.x + brush.px(18)
    brush.mark("cross", x + brush.px(2), y, theme.RED)
    x += brush.px(16)
    what = f"{source_name[0]}: {alarm.name.replace('_', ' ')}"
    x += brush.text(what, x, y, theme.BODY, theme.TEXT, bold=True) + brush.px(14)
    right = rect.right - brush.px(theme.MARGIN)
    if len(state.alarms) > 1:
        more = f"+{len(state.alarms) - 1} more"
        right -= brush.text(more, right, y, theme.BODY, theme.MUTED, align="right") + brush.px(10)
    brush.text(alarm.text, x, y, theme.BODY, (250, 214, 200), width=right - x)


_COLUMNS = (("Hz", 190), ("age", 232), ("msgs", 285), ("skip", 325), ("lost", 352))


def draw_nodes(brush: Brush, rect: Rect, state: ViewState, now_mono_s: float) -> None:
    """One row per node: condition, rate, age of its heartbeat, and its books."""
    room = brush.panel(rect, "Nodes")
    nodes = list(state.health.nodes.values())
    if not nodes:
        brush.note("waiting for the first heartbeat", room)
        return
    y = rect.y + brush.px(theme.TITLE_H) / 2 + 1
    for label, at in _COLUMNS:
        brush.text(label, room.x + brush.px(at), y, theme.SMALL, theme.FAINT, align="right")
    row_h = max(brush.px(20), min(brush.px(27), room.h // len(nodes)))
    fitting = max(1, room.h // row_h)
    shown = nodes if len(nodes) <= fitting else nodes[: fitting - 1]
    for index, node in enumerate(shown):
        _node_row(brush, Rect(room.x, room.y + index * row_h, room.w, row_h), node, now_mono_s)
    if len(shown) < len(nodes):
        y = room.y + (len(shown) + 0.5) * row_h
        brush.text(f"+{len(nodes) - len(shown)} more", room.x + brush.px(16), y, theme.SMALL, theme.MUTED)


def _node_row(brush: Brush, row: Rect, node: NodeHealth, now_mono_s: float) -> None:
    condition = node.condition(now_mono_s)
    shape, colour = theme.CONDITIONS[condition]
    y = row.y + row.h / 2
    brush.fill(Rect(row.x, row.bottom - 1, row.w, 1), theme.GRID)
    brush.mark(shape, row.x + brush.px(5), y, colour)
    quiet = condition in ("waiting", "stopped")
    shade = theme.MUTED if quiet else theme.TEXT
    brush.text(node.name, row.x + brush.px(16), y, theme.BODY, shade, width=brush.px(72))
    trouble = condition in ("silent", "paused")
    brush.text(condition, row.x + brush.px(92), y, theme.SMALL, colour if trouble else theme.MUTED, width=brush.px(58))
    if node.status is None:
        return
    age = node.age_s(now_mono_s) or 0.0
    old = age > STALE_S and condition == "silent"
    values = (
        ("-" if node.rate_hz is None else f"{node.rate_hz:.1f}", theme.TEXT),
        (f"{age:.1f}" if age < 100 else f"{age:.0f}", theme.RED if old else theme.MUTED),
        (short_count(node.messages), theme.TEXT),
        (short_count(node.skipped), theme.MUTED if node.skipped else theme.FAINT),
        (short_count(node.lost), theme.RED if node.lost else theme.FAINT),
    )
    for (_, at), (text, shade) in zip(_COLUMNS, values, strict=True):
        brush.text(text, row.x + brush.px(at), y, theme.SMALL, shade, align="right", bold=shade == theme.RED)


def draw_strip(brush: Brush, rect: Rect, state: ViewState, now_mono_s: float) -> None:
    """Left: the question to the person, or what just happened. Right: what is on disk."""
    y = rect.y + rect.h / 2
    brush.fill(rect, theme.PANEL)
    brush.outline(rect, theme.BORDER)
    right = rect.right - brush.px(theme.PAD)
    kept = brush.text(_on_disk(state), right, y, theme.BODY, theme.MUTED, align="right", width=rect.w // 2)
    right -= kept + brush.px(20)
    x = rect.x + brush.px(theme.PAD)
    toast = state.toast(now_mono_s)
    if state.prompt and not toast:
        brush.outline(rect, theme.YELLOW)
        brush.fill(Rect(rect.x, rect.y, brush.px(4), rect.h), theme.YELLOW)
        brush.text(state.prompt, x + brush.px(4), y, theme.BODY + 1, theme.YELLOW, bold=True, width=right - x)
        return
    text, colour = (toast, theme.TEXT) if toast else (_quiet_line(state), theme.MUTED)
    brush.text(text, x, y, theme.BODY, colour, width=right - x)


def _quiet_line(state: ViewState) -> str:
    if state.paused:
        return "paused: space goes on, n makes one step"
    robot = state.health.of_kind("robot")
    parts = []
    if state.robot is not None:
        parts.append(f"{state.robot.robot} ({state.robot.driver}), {state.robot.timing} at {state.robot.rate_hz:g} Hz")
    if robot is not None and robot.status is not None and robot.status.detail:
        parts.append(robot.status.detail)
    if state.mark is not None:
        parts.append(f"episode {state.mark.mark}" + (f": {state.mark.reason}" if state.mark.reason else ""))
    return "   |   ".join(parts) or "waiting for the robot"


def _on_disk(state: ViewState) -> str:
    done = state.committed
    if done is None:
        if state.has_kind("recorder") is False:
            return "no recorder in this graph: nothing is kept"
        return "nothing on disk yet"
    gaps = f"   {len(done.gaps)} gaps" if done.gaps else ""
    return f"session {done.session}   {done.events:,} events   {done.bytes / 1e6:,.1f} MB{gaps}"


def draw_footer(brush: Brush, rect: Rect, state: ViewState) -> None:
    """The keys, evenly spread."""
    rows = [key for key in KEYS if key.cap != "arrows"]  # the digits' label stands for both
    items = [(key.cap, "go on" if key.command == "pause" and state.paused else key.label) for key in rows]
    cap_pad, gap = brush.px(5), brush.px(5)
    widths = [
        max(brush.text_width(cap, theme.SMALL), brush.px(7)) + 2 * cap_pad + gap + brush.text_width(label, theme.SMALL)
        for cap, label in items
    ]
    spare = max(brush.px(8), (rect.w - sum(widths)) // max(1, len(items) - 1))
    spare = min(spare, brush.px(64))
    x, y, h = rect.x, rect.y + rect.h / 2, brush.px(17)
    for (cap, label), width in zip(items, widths, strict=True):
        cap_w = max(brush.text_width(cap, theme.SMALL), brush.px(7)) + 2 * cap_pad
        box = Rect(x, round(y) - h // 2, cap_w, h)
        brush.fill(box, theme.RAISED)
        brush.fill(Rect(box.x, box.bottom - 1, box.w, 1), theme.BORDER)
        brush.text(cap, x + cap_w / 2, y, theme.SMALL, theme.TEXT, align="middle")
        brush.text(label, x + cap_w + gap, y, theme.SMALL, theme.MUTED)
        x += width + spare


def draw_help(brush: Brush, rect: Rect) -> None:
    """All keys with what they do, over a darkened picture."""
    picture = brush.picture
    picture[:] = picture // 4 + 6
    row_h = brush.px(26)
    w = brush.px(640)
    box = rect.middle(min(w, rect.w), brush.px(theme.TITLE_H) + row_h * len(KEYS) + brush.px(theme.PAD) * 2)
    room = brush.panel(box, "Keys")
    for index, key in enumerate(KEYS):
        y = room.y + brush.px(4) + (index + 0.5) * row_h
        brush.text(key.cap, room.x + brush.px(56), y, theme.BODY, theme.BLUE, bold=True, align="right")
        brush.text(key.what, room.x + brush.px(74), y, theme.BODY, theme.TEXT, width=room.w - brush.px(74))


def short_count(value: int) -> str:
    """A count in at most five characters: 9999, 12.3k, 4.5M."""
    if value < 10_000:
        return str(value)
    return f"{value / 1e3:.1f}k" if value < 1_000_000 else f"{value / 1e6:.1f}M"
