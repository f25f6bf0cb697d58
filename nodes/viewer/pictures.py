"""The panels with pictures: now, predictions for every action, their error, and the history canvas."""

from collections.abc import Sequence

import numpy as np

from nodes.viewer import theme
from nodes.viewer.records import SeenError, SeenFrame, SeenPrediction
from nodes.viewer.state import ViewState
from nodes.viewer.theme import Colour
from nodes.viewer.widgets import Brush, Rect, best_grid, fit_size, number
from protocol.messages import Action
from worldmodel.canvas import action_colour, canvas, masked_frame
from worldmodel.spec import ActionSpace

MAX_SHOWN = 9
AMPLIFY = 4
_NO_SPACE = ActionSpace(("action",), ((0.0,),))


def draw_now(brush: Brush, rect: Rect, state: ViewState) -> None:
    """The newest frame, all cameras."""
    room = brush.panel(rect, "Now")
    frame = state.frame
    if frame is None:
        missing = state.has_kind("robot") is False
        brush.note("no robot in this graph" if missing else "waiting for the first frame", room)
        return
    _aside(brush, rect, f"episode {_or_dash(frame.episode)}   step {_or_dash(frame.step)}")
    caption_h = brush.px(18)
    place = brush.paste(("frame", frame.serial), frame.picture, Rect(room.x, room.y, room.w, room.h - caption_h))
    if state.paused:
        brush.outline(place, theme.AMBER, brush.px(2))
    before = state.frames[-2] if len(state.frames) > 1 else None
    taken = state.action_after(before) if before is not None else None
    y = room.bottom - caption_h / 2 + brush.px(4)
    if taken is not None:
        x = room.x + _swatch(brush, room.x, y, taken.action, state)
        ending = "" if taken.success else ", failed"
        text = f"after {action_label(taken.action)}, by {taken.by}{' (safe action)' if taken.safe else ''}{ending}"
        brush.text(text, x, y, theme.SMALL, theme.MUTED if taken.success else theme.AMBER, width=room.right - x)
    elif len(frame.images) > 1:
        brush.text("cameras: " + ", ".join(frame.images), room.x, y, theme.SMALL, theme.FAINT, width=room.w)
    if frame.held_out:
        _tag(brush, place.x + brush.px(6), place.y + brush.px(6), "held out", theme.PINK)


def draw_predictions(brush: Brush, rect: Rect, state: ViewState) -> None:
    """The predicted next frame of every candidate action; the chosen one is marked."""
    room = brush.panel(rect, "Predicted next frame")
    seen = state.prediction
    if seen is None:
        missing = state.has_kind("predictor") is False
        brush.note("no predictor in this graph" if missing else "waiting for the first prediction", room)
        return
    body = seen.body
    behind = state.frame.step - seen.step if _comparable(state.frame, seen) else 0
    late = f"   {behind} step{'s' * (behind > 1)} behind" if behind > 0 else ""
    _aside(brush, rect, f"from step {_or_dash(seen.step)}   weights v{body.weights_version}   {body.latency_ms:.0f} ms{late}")
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


def _candidate(
    brush: Brush, cell: Rect, size: tuple[int, int], state: ViewState, seen: SeenPrediction, index: int
) -> None:
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
    y = cell.bottom - brush.px(10)
    width = max(size[0], min(cell.w, brush.px(120)))
    left = cell.x + (cell.w - width) // 2
    right = left + width
    if chosen:
        brush.outline(picture, theme.BLUE, brush.px(3))
        if width >= brush.px(150):
            right -= brush.text("chosen", right, y, theme.SMALL, theme.BLUE, bold=True, align="right") + brush.px(6)
    else:
        brush.outline(picture, theme.BORDER)
    if index < len(body.uncertainty) and width >= brush.px(110):
        text = f"+-{number(body.uncertainty[index], 2)}"
        right -= brush.text(text, right, y, theme.SMALL, theme.MUTED, align="right") + brush.px(6)
    left += _digit(brush, left, y, index, chosen)
    left += _swatch(brush, left, y, body.candidates[index], state)
    label = action_label(body.candidates[index])
    if brush.text_width(label, theme.BODY) > right - left:
        label = action_label(body.candidates[index], short=True)
    brush.text(label, left, y, theme.BODY, theme.TEXT if chosen else theme.MUTED, bold=chosen, width=right - left)


def draw_error(brush: Brush, rect: Rect, state: ViewState) -> None:
    """Where the last prediction was wrong, and how much, beside copying the last frame."""
    room = brush.panel(rect, "Error")
    error = state.error
    if error is None:
        missing = state.has_kind("predictor") is False
        brush.note("no predictor in this graph" if missing else "waiting for the frame after a prediction", room)
        return
    _aside(brush, rect, f"step {_or_dash(error.key[1])}, then   x{AMPLIFY}")
    height, width = error.heat.shape
    image_w, image_h = fit_size(width, height, round(room.w * 0.56), room.h)
    hot = brush.heat(("heat", error.serial), error.heat, AMPLIFY)
    picture = Rect(room.x, room.y + (room.h - image_h) // 2, image_w, image_h)
    brush.put(brush.fitted(("error", error.serial), hot, image_w, image_h), picture.x, picture.y)
    brush.outline(picture, theme.BORDER)
    _error_numbers(brush, Rect(picture.right + brush.px(14), room.y, room.right - picture.right - brush.px(14), room.h), error, state)


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
    left = room.x + _swatch(brush, room.x, y, error.action, state)
    brush.text(action_label(error.action), left, y, theme.SMALL, theme.MUTED, width=room.right - left)


def _verdict(error: SeenError) -> tuple[tuple[str, ...], Colour]:
    if error.copy_last_mse == 0:
        return (("nothing moved",), theme.MUTED)
    if error.mse == 0:
        return (("exact",), theme.TEAL)
    ratio = error.copy_last_mse / error.mse
    if ratio >= 1:
        return ((f"{number(ratio)} times better", "than copy-last"), theme.TEAL)
    return ((f"{number(1 / ratio)} times worse", "than copy-last"), theme.RED)


def draw_history(brush: Brush, rect: Rect, state: ViewState) -> None:
    """The canvas: the last frames side by side, actions as bars between them, the prediction last."""
    room = brush.panel(rect, "History")
    newest = state.frame
    if newest is None:
        brush.note("frames appear here side by side, actions as bars between them", room)
        return
    slots = _slots(state, newest)
    count, label_h = len(slots), brush.px(18)
    separator = brush.px(8)
    w, h = fit_size(
        newest.picture.shape[1], newest.picture.shape[0], (room.w - separator * (count - 1)) // count, room.h - label_h
    )
    images = [
        masked_frame(h, w) if image is None else brush.fitted((kind, serial), image, w, h)
        for kind, serial, image, _ in slots
    ]
    space = state.space or _NO_SPACE
    picture = canvas(np.stack(images), _bars(state, slots, space), space, separator)
    place = room.middle(picture.shape[1], picture.shape[0] + label_h)
    brush.put(picture, place.x, place.y)
    for index, (kind, _, image, label) in enumerate(slots):
        slot = Rect(place.x + index * (w + separator), place.y, w, h)
        predicted = kind == "next"
        if predicted and image is not None:
            brush.outline(slot, theme.BLUE, brush.px(2))
        colour = theme.BLUE if predicted and image is not None else theme.MUTED if image is not None else theme.FAINT
        brush.text(label, slot.x + w / 2, slot.bottom + label_h / 2 + brush.px(2), theme.SMALL, colour, align="middle", width=w)


Slot = tuple[str, object, np.ndarray | None, str]
"""What it is ("frame", "next" or ""), its key among kept pictures, its picture (None: masked), its label."""


def _slots(state: ViewState, newest: SeenFrame) -> list[Slot]:
    """One slot per frame of the context, empty ones first, and one for the prediction of the chosen action."""
    empty = state.context + 1 - len(state.frames)
    slots: list[Slot] = [("", None, None, "-")] * empty
    slots += [("frame", frame.serial, frame.picture, _or_dash(frame.step)) for frame in state.frames]
    seen = state.prediction
    if seen is not None and seen.key == newest.key and seen.pictures and seen.body.chosen in range(len(seen.pictures)):
        chosen = seen.body.chosen
        slots.append(("next", (seen.serial, chosen), seen.pictures[chosen], f"{_next_step(newest)} predicted"))
    elif state.has_kind("predictor"):
        slots.append(("", None, None, f"{_next_step(newest)} to come"))
    return slots


def _bars(state: ViewState, slots: Sequence[Slot], space: ActionSpace) -> np.ndarray:
    """The action after each slot but the last, float32 [slots - 1, D]; NaN where it is not known."""
    rows = np.full((len(slots) - 1, len(space.names)), np.nan, dtype=np.float32)
    frames = list(state.frames)
    first = state.context + 1 - len(frames)
    for index, frame in enumerate(frames):
        after = frames[index + 1] if index + 1 < len(frames) else None
        if after is not None and frame.step is not None and after.step != frame.step + 1:
            continue  # frames between were skipped: no single action lies here
        taken = state.action_after(frame)
        action = taken.action if taken is not None else None
        seen = state.prediction
        if action is None and after is None and seen is not None and seen.key == frame.key and seen.body.chosen is not None:
            action = seen.body.candidates[seen.body.chosen] if seen.body.chosen < len(seen.body.candidates) else None
        if action is not None and first + index < len(rows):
            rows[first + index] = [action.get(name, np.nan) for name in space.names]
    return rows


def action_label(action: Action, short: bool = False) -> str:
    """An action in words: "steer +0.30  throttle +0.50", or only its numbers."""
    if len(action) == 1 and not short:
        name, value = next(iter(action.items()))
        return f"{name} {value:g}"
    values = {name: f"{value:+.2f}" for name, value in action.items()}
    return "  ".join(values.values()) if short else "  ".join(f"{name} {text}" for name, text in values.items())


def _shown(count: int, chosen: int | None) -> list[int]:
    """The candidates that get a picture: the first ones, and the chosen one always."""
    if count <= MAX_SHOWN:
        return list(range(count))
    shown = list(range(MAX_SHOWN - 1))
    if chosen is not None and chosen < count and chosen not in shown:
        shown[-1] = chosen
    return shown


def _aside(brush: Brush, rect: Rect, text: str) -> None:
    """Muted text at the right end of a panel's title row."""
    y = rect.y + brush.px(theme.TITLE_H) / 2 + 1
    brush.text(text, rect.right - brush.px(theme.PAD), y, theme.SMALL, theme.MUTED, align="right")


def _swatch(brush: Brush, x: int, y: float, action: Action, state: ViewState) -> int:
    """The action's colours as in the history's bars; returns the pixels taken."""
    space = state.space
    if space is None or any(name not in action for name in space.names):
        return 0
    colours = action_colour(np.asarray([action[name] for name in space.names], dtype=np.float32), space)
    w, h = brush.px(5), brush.px(11)
    top = round(y) - h // 2
    for index, colour in enumerate(colours):
        y0, y1 = top + h * index // len(colours), top + h * (index + 1) // len(colours)
        brush.fill(Rect(x, y0, w, y1 - y0), colour)
    return w + brush.px(6)


def _digit(brush: Brush, x: int, y: float, index: int, chosen: bool) -> int:
    """The key that chooses this candidate; returns the pixels taken."""
    size = brush.px(15)
    box = Rect(x, round(y) - size // 2, size, size)
    brush.fill(box, theme.BLUE if chosen else theme.RAISED)
    colour = theme.BACKGROUND if chosen else theme.MUTED
    brush.text(str(index), box.x + size / 2, y, theme.SMALL, colour, bold=chosen, align="middle")
    return size + brush.px(6)


def _tag(brush: Brush, x: int, y: int, text: str, colour: Colour) -> None:
    """A small filled label on a picture."""
    h, pad = brush.px(16), brush.px(5)
    brush.fill(Rect(x, y, brush.text_width(text, theme.SMALL) + 2 * pad, h), colour)
    brush.text(text, x + pad, y + h / 2, theme.SMALL, theme.BACKGROUND)


def _comparable(frame: SeenFrame | None, seen: SeenPrediction) -> bool:
    return frame is not None and frame.step is not None and seen.step is not None and frame.episode == seen.episode


def _next_step(frame: SeenFrame) -> str:
    return "-" if frame.step is None else str(frame.step + 1)


def _or_dash(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
