"""The panels with pictures: now, predictions for every action, and their error."""

from collections.abc import Sequence

from nodes.viewer import theme
from nodes.viewer.labels import action_label, aside, digit, fitting_label, or_dash, swatch, tag
from nodes.viewer.records import SeenError, SeenFrame, SeenPrediction
from nodes.viewer.state import ViewState
from nodes.viewer.theme import Colour
from nodes.viewer.widgets import Brush, Rect, best_grid, fit_size, number

MAX_SHOWN = 9
AMPLIFY = 4


def draw_now(brush: Brush, rect: Rect, state: ViewState) -> None:
    """The newest frame, all cameras."""
    room = brush.panel(rect, "Now")
    frame = state.frame
    if frame is None:
        missing = state.has_kind("robot") is False
        brush.note("no robot in this graph" if missing else "waiting for the first frame", room)
        return
    aside(brush, rect, f"episode {or_dash(frame.episode)}   step {or_dash(frame.step)}")
    caption_h = brush.px(18)
    place = brush.paste(("frame", frame.serial), frame.picture, Rect(room.x, room.y, room.w, room.h - caption_h))
    if state.paused:
        brush.outline(place, theme.AMBER, brush.px(2))
    before = state.frames[-2] if len(state.frames) > 1 else None
    taken = state.action_after(before) if before is not None else None
    y = room.bottom - caption_h / 2 + brush.px(4)
    if taken is not None:
        x = room.x + swatch(brush, room.x, y, taken.action, state.space)
        ending = "" if taken.success else ", failed"
        text = f"after {action_label(taken.action)}, by {taken.by}{' (safe action)' if taken.safe else ''}{ending}"
        brush.text(text, x, y, theme.SMALL, theme.MUTED if taken.success else theme.AMBER, width=room.right - x)
    elif len(frame.images) > 1:
        brush.text("cameras: " + ", ".join(frame.images), room.x, y, theme.SMALL, theme.FAINT, width=room.w)
    if frame.held_out:
        tag(brush, place.x + brush.px(6), place.y + brush.px(6), "held out", theme.PINK)


def draw_predictions(brush: Brush, rect: Rect, state: ViewState) -> None:
    """The predicted next frame of every candidate action; the chosen one is marked."""
    room = brush.panel(rect, "Predicted next frame")
    seen = state.prediction
    if seen is None:
        missing = state.has_kind("predictor") is False
        brush.note("no predictor in this graph" if missing else "waiting for the first prediction", room)
        return
    body = seen.body
    behind = _steps_behind(state.frame, seen)
    late = f"   {behind} step{'s' * (behind > 1)} behind" if behind > 0 else ""
    made = f"from step {or_dash(seen.step)}   weights v{body.weights_version}   {body.latency_ms:.0f} ms"
    aside(brush, rect, made + late)
    shown = _shown(len(body.candidates), body.chosen)
    more = len(body.candidates) - len(shown)
    cells = len(shown) + (more > 0)
    if not cells:
        brush.note("this predictor has no candidates", room)
        return
    image = seen.pictures[0] if seen.pictures else None
    label_h, gap = brush.px(22), brush.px(theme.GAP)
    w, h = (image.shape[1], image.shape[0]) if image is not None else (4, 3)
    columns, rows = best_grid(cells, w, h, room, gap, label_h)
    cell_w = (room.w - gap * (columns - 1)) // columns
    image_w, image_h = fit_size(w, h, cell_w, (room.h - gap * (rows - 1)) // rows - label_h)
    top = room.y + max(0, (room.h - rows * (image_h + label_h) - gap * (rows - 1)) // 2)
    for place in range(cells):
        row, column = divmod(place, columns)
        count = min(columns, cells - row * columns)
        left = room.x + (room.w - count * cell_w - gap * (count - 1)) // 2 + column * (cell_w + gap)
        cell = Rect(left, top + row * (image_h + label_h + gap), cell_w, image_h + label_h)
        if place < len(shown):
            _candidate(brush, cell, (image_w, image_h), state, seen, shown[place])
        else:
            brush.note(f"+{more} more", cell, theme.MUTED)


def _candidate(brush: Brush, cell: Rect, size: tuple[int, int], state: ViewState, seen: SeenPrediction, index: int) -> None:
    """One candidate: its picture above its digit, colour and action."""
    body = seen.body
    chosen = index == body.chosen
    picture = Rect(cell.x + (cell.w - size[0]) // 2, cell.y, *size)
    if seen.pictures:
        image = brush.fitted(("next", seen.serial, index), seen.pictures[index], *size)
        brush.put(image, picture.x, picture.y)
    else:
        brush.fill(picture, theme.RAISED)
        brush.note("no model", picture)
    brush.outline(picture, theme.BLUE if chosen else theme.BORDER, brush.px(3) if chosen else 1)
    y = cell.bottom - brush.px(10)
    width = max(size[0], min(cell.w, brush.px(190)))
    left = cell.x + (cell.w - width) // 2
    right = left + width
    left += digit(brush, left, y, index, chosen)
    left += swatch(brush, left, y, body.candidates[index], state.space)
    colour = theme.TEXT if chosen else theme.MUTED
    label, label_size = fitting_label(brush, body.candidates[index], (theme.BODY, theme.SMALL), right - left)
    left += brush.text(label, left, y, label_size, colour, bold=chosen) + brush.px(12)
    extras = [("chosen", theme.BLUE)] if chosen else []
    if index < len(body.uncertainty) and width >= brush.px(180):
        extras.insert(0, (f"u {number(body.uncertainty[index], 2)}", theme.MUTED))
    for text, shade in extras:
        if brush.text_width(text, theme.SMALL) <= right - left:
            right -= brush.text(text, right, y, theme.SMALL, shade, align="right") + brush.px(8)


def _times(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 100 else f"{min(ratio, 99_999):,.0f}"


def draw_error(brush: Brush, rect: Rect, state: ViewState) -> None:
    """Where the last prediction was wrong, and how much, beside copying the last frame."""
    room = brush.panel(rect, "Error")
    error = state.error
    if error is None:
        missing = state.has_kind("predictor") is False
        brush.note("no predictor in this graph" if missing else "waiting for the frame after a prediction", room)
        return
    step = None if error.key[1] is None else error.key[1] + 1
    aside(brush, rect, f"step {or_dash(step)}   shown x{AMPLIFY}")
    height, width = error.heat.shape
    image_w, image_h = fit_size(width, height, round(room.w * 0.56), room.h)
    hot = brush.heat(("heat", error.serial), error.heat, AMPLIFY)
    picture = Rect(room.x, room.y + (room.h - image_h) // 2, image_w, image_h)
    brush.put(brush.fitted(("error", error.serial), hot, image_w, image_h), picture.x, picture.y)
    brush.outline(picture, theme.BORDER)
    left = picture.right + brush.px(14)
    _error_numbers(brush, Rect(left, room.y, room.right - left, room.h), error, state)


def _error_numbers(brush: Brush, room: Rect, error: SeenError, state: ViewState) -> None:
    """MSE and copy-last's MSE as figures and bars of one scale, and what they say together."""
    y = float(room.y + brush.px(8))
    largest = max(error.mse, error.copy_last_mse, 1e-12)
    rows: Sequence[tuple[str, float, Colour]] = (
        ("prediction", error.mse, theme.BLUE), ("copy-last", error.copy_last_mse, theme.AMBER),
    )  # fmt: skip
    for label, value, colour in rows:
        brush.text(label, room.x, y, theme.SMALL, theme.MUTED)
        brush.text(number(value), room.x, y + brush.px(17), theme.VALUE, theme.TEXT, bold=True, width=room.w)
        bar = Rect(room.x, round(y) + brush.px(29), room.w, brush.px(4))
        brush.fill(bar, theme.RAISED)
        brush.fill(Rect(bar.x, bar.y, max(1, round(bar.w * value / largest)), bar.h), colour)
        y += brush.px(52)
    verdict, colour = _verdict(error)
    for line in verdict:
        brush.text(line, room.x, y, theme.SMALL, colour, width=room.w)
        y += brush.px(15)
    y += brush.px(6)
    left = room.x + swatch(brush, room.x, y, error.action, state.space)
    brush.text(action_label(error.action), left, y, theme.SMALL, theme.MUTED, width=room.right - left)


def _verdict(error: SeenError) -> tuple[tuple[str, ...], Colour]:
    if error.copy_last_mse == 0:
        return (("nothing moved",), theme.MUTED)
    if error.mse == 0:
        return (("exact",), theme.TEAL)
    ratio = error.copy_last_mse / error.mse
    if ratio >= 1:
        return ((f"{_times(ratio)} times better", "than copy-last"), theme.TEAL)
    return ((f"{_times(1 / ratio)} times worse", "than copy-last"), theme.RED)


def _shown(count: int, chosen: int | None) -> list[int]:
    """The candidates that get a picture: the first ones, and the chosen one always."""
    if count <= MAX_SHOWN:
        return list(range(count))
    shown = list(range(MAX_SHOWN - 1))
    if chosen is not None and chosen < count and chosen not in shown:
        shown[-1] = chosen
    return shown


def _steps_behind(frame: SeenFrame | None, seen: SeenPrediction) -> int:
    """How many steps the newest frame is ahead of the frame that was predicted from."""
    if frame is None or frame.step is None or seen.step is None or frame.episode != seen.episode:
        return 0
    return max(0, frame.step - seen.step)
