"""The history panel: the world model's canvas, frames side by side with the actions as bars between them."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from nodes.viewer import theme
from nodes.viewer.labels import fitting_label, or_dash
from nodes.viewer.records import SeenFrame, UInt8Array
from nodes.viewer.state import ViewState
from nodes.viewer.widgets import Brush, Rect, fit_size
from protocol.messages import Action
from worldmodel.canvas import canvas, masked_frame
from worldmodel.spec import ActionSpace

FloatArray = np.ndarray[Any, np.dtype[np.float32]]

_NO_SPACE = ActionSpace(("action",), ((0.0,),))


def draw_history(brush: Brush, rect: Rect, state: ViewState) -> None:
    """The canvas: the last frames side by side, actions as bars between them, the prediction last."""
    room = brush.panel(rect, "History")
    newest = state.frame
    if newest is None:
        brush.note("frames appear here side by side, actions as bars between them", room)
        return
    slots = _slots(state, newest)
    space = state.space or _NO_SPACE
    count, label_h = len(slots), brush.px(18)
    bars = _bars(state, slots, space)
    separator = brush.px(8)
    w, h = fit_size(newest.picture.shape[1], newest.picture.shape[0], (room.w - separator * (count - 1)) // count, room.h - label_h)
    images = [masked_frame(h, w) if image is None else brush.fitted((kind, serial), image, w, h) for kind, serial, image, _ in slots]
    picture = canvas(np.stack(images), bars, space, separator)
    two_rows = room.h >= h + 2 * label_h
    place = room.middle(picture.shape[1], h + label_h * (1 + two_rows))
    brush.put(picture, place.x, place.y)
    for index, (kind, _, image, label) in enumerate(slots):
        slot = Rect(place.x + index * (w + separator), place.y, w, h)
        predicted = kind == "next"
        if predicted and image is not None:
            brush.outline(slot, theme.BLUE, brush.px(2))
        colour = theme.FAINT if image is None else theme.BLUE if predicted else theme.MUTED
        y = slot.bottom + label_h / 2 + brush.px(2)
        brush.text(label, slot.x + w / 2, y, theme.SMALL, colour, align="middle", width=w)
    if two_rows:
        _name_bars(brush, place, (w, h), separator, space, bars)


def _name_bars(brush: Brush, place: Rect, size: tuple[int, int], separator: int, space: ActionSpace, bars: FloatArray) -> None:
    """Below the steps, under each bar, the action in words; nothing where it is not known."""
    w, h = size
    known: list[list[float]] = np.asarray(bars).tolist()
    for index, numbers in enumerate(known):
        if any(number != number for number in numbers):  # not a number: not known
            continue
        action = dict(zip(space.names, numbers, strict=True))
        x = place.x + (index + 1) * (w + separator) - separator / 2
        label, size_px = fitting_label(brush, action, (theme.SMALL,), w)
        brush.text(label, x, place.y + h + brush.px(29), size_px, theme.MUTED, align="middle", width=w)


Slot = tuple[str, Hashable, UInt8Array | None, str]
"""What it is ("frame", "next" or ""), its key among kept pictures, its picture (None: masked), its label."""


def _slots(state: ViewState, newest: SeenFrame) -> list[Slot]:
    """One slot per frame of the context, empty ones first, and one for the prediction of the chosen action."""
    empty = state.context + 1 - len(state.frames)
    slots: list[Slot] = [("", None, None, "-")] * empty
    slots += [("frame", frame.serial, frame.picture, or_dash(frame.step)) for frame in state.frames]
    seen = state.prediction
    chosen = seen.body.chosen if seen is not None else None
    if seen is not None and seen.key == newest.key and chosen is not None and chosen < len(seen.pictures):
        slots.append(("next", (seen.serial, chosen), seen.pictures[chosen], f"{_next_step(newest)} predicted"))
    elif state.has_kind("predictor"):
        slots.append(("", None, None, f"{_next_step(newest)} to come"))
    return slots


def _bars(state: ViewState, slots: Sequence[Slot], space: ActionSpace) -> FloatArray:
    """The action after each slot but the last, float32 [slots - 1, D]; NaN where it is not known."""
    rows = np.full((len(slots) - 1, len(space.names)), np.nan, dtype=np.float32)
    frames = list(state.frames)
    for index, frame in enumerate(frames):
        row = state.context + 1 - len(frames) + index
        after = frames[index + 1] if index + 1 < len(frames) else None
        skipped = after is not None and frame.step is not None and after.step != frame.step + 1
        action = None if skipped else _action_after(state, frame, newest=after is None)
        if action is not None and row < len(rows):
            rows[row] = [action.get(name, np.nan) for name in space.names]
    return rows


def _action_after(state: ViewState, frame: SeenFrame, newest: bool) -> Action | None:
    """What was executed after a frame; for the newest, until that is known, what is chosen."""
    taken = state.action_after(frame)
    if taken is not None:
        return taken.action
    seen = state.prediction
    if not newest or seen is None or seen.key != frame.key or seen.body.chosen is None:
        return None
    return seen.body.candidates[seen.body.chosen] if seen.body.chosen < len(seen.body.candidates) else None


def _next_step(frame: SeenFrame) -> str:
    return "-" if frame.step is None else str(frame.step + 1)
