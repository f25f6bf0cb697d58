"""Small labels on panels and pictures: actions in words and colours, keys, tags."""

from collections.abc import Sequence

import numpy as np

from nodes.viewer import theme
from nodes.viewer.theme import Colour
from nodes.viewer.widgets import Brush, Rect
from protocol.messages import Action
from worldmodel.canvas import action_colour
from worldmodel.spec import ActionSpace


def action_label(action: Action) -> str:
    """An action in words: "turn 1" or "steer +0.30  throttle -0.50"."""
    if len(action) == 1:
        name, value = next(iter(action.items()))
        return f"{name} {value:.4g}"
    return "  ".join(f"{name} {value:+.2f}" for name, value in action.items())


def fitting_label(brush: Brush, action: Action, sizes: Sequence[float], width: int) -> tuple[str, float]:
    """The longest words for an action that fit into `width`, and at which of the sizes; "" when none does."""
    values = list(action.values())
    texts = [action_label(action), f"{values[0]:.4g}" if len(values) == 1 else " ".join(f"{v:+.2f}" for v in values)]
    if len(values) > 1:
        texts += [" ".join(f"{v:+.1f}" for v in values), f"{values[0]:+.1f} .."]
    tries = [(text, size) for text in texts for size in sizes]
    return next(((text, size) for text, size in tries if brush.text_width(text, size) <= width), ("", sizes[0]))


def aside(brush: Brush, rect: Rect, text: str) -> None:
    """Muted text at the right end of a panel's title row."""
    y = rect.y + brush.px(theme.TITLE_H) / 2 + 1
    brush.text(text, rect.right - brush.px(theme.PAD), y, theme.SMALL, theme.MUTED, align="right")


def swatch(brush: Brush, x: int, y: float, action: Action, space: ActionSpace | None) -> int:
    """The action's colours as in the history's bars; returns the pixels taken."""
    if space is None or any(name not in action for name in space.names):
        return 0
    colours = action_colour(np.asarray([action[name] for name in space.names], dtype=np.float32), space)
    w, h = brush.px(5), brush.px(11)
    top = round(y) - h // 2
    for index, colour in enumerate(colours):
        y0, y1 = top + h * index // len(colours), top + h * (index + 1) // len(colours)
        brush.fill(Rect(x, y0, w, y1 - y0), colour)
    return w + brush.px(6)


def digit(brush: Brush, x: int, y: float, index: int, chosen: bool) -> int:
    """The key that chooses this candidate; returns the pixels taken."""
    size = brush.px(15)
    box = Rect(x, round(y) - size // 2, size, size)
    brush.fill(box, theme.BLUE if chosen else theme.RAISED)
    colour = theme.BACKGROUND if chosen else theme.MUTED
    brush.text(str(index), box.x + size / 2, y, theme.SMALL, colour, bold=chosen, align="middle")
    return size + brush.px(6)


def tag(brush: Brush, x: int, y: int, text: str, colour: Colour) -> None:
    """A small filled label on a picture."""
    h, pad = brush.px(16), brush.px(5)
    brush.fill(Rect(x, y, brush.text_width(text, theme.SMALL) + 2 * pad, h), colour)
    brush.text(text, x + pad, y + h / 2, theme.SMALL, theme.BACKGROUND)


def or_dash(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
