"""State in, picture out: RGB uint8 [H, W, 3]. Sinks turn it into OpenCV's BGR.

picture = compose(state, (1280, 720), now_mono_s)          # a fresh picture

composer = Composer((1280, 720))                           # the same picture, faster
if composer.stale(state, now_mono_s):
    sink.show(composer.compose(state, now_mono_s))
"""

from typing import Any, NamedTuple

import numpy as np

from nodes.viewer import theme
from nodes.viewer.bars import draw_banner, draw_footer, draw_header, draw_help, draw_nodes, draw_strip
from nodes.viewer.history import draw_history
from nodes.viewer.pictures import draw_error, draw_now, draw_predictions
from nodes.viewer.plots import draw_loss, draw_skill
from nodes.viewer.state import ViewState
from nodes.viewer.widgets import Brush, Rect

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]

_CLOCK_S = 0.5  # ages and the clock on the picture move at least this often


class Layout(NamedTuple):
    """Where everything is, in pixels."""

    header: Rect
    banner: Rect | None
    now: Rect
    predictions: Rect
    error: Rect
    history: Rect
    loss: Rect
    skill: Rect
    nodes: Rect
    strip: Rect
    footer: Rect


def layout(size: tuple[int, int], scale: float, alarmed: bool) -> Layout:
    """Three columns of two rows between header and footer; an alarm takes a line from the upper row."""

    def px(value: float) -> int:
        return max(1, round(value * scale))

    width, height = size
    margin, gap = px(theme.MARGIN), px(theme.GAP)
    header = Rect(0, 0, width, px(theme.HEADER_H))
    top = header.bottom + gap
    banner = Rect(margin, top, width - 2 * margin, px(theme.BANNER_H)) if alarmed else None
    if banner is not None:
        top = banner.bottom + gap
    footer = Rect(margin, height - px(theme.FOOTER_H) - px(4), width - 2 * margin, px(theme.FOOTER_H))
    strip = Rect(margin, footer.y - px(4) - px(theme.STRIP_H), width - 2 * margin, px(theme.STRIP_H))
    lower_h = max(px(theme.LOWER_H), (strip.y - header.bottom) * 37 // 100)
    lower = strip.y - gap - lower_h
    upper_h = lower - gap - top
    left_w, right_w = px(theme.LEFT_W), px(theme.RIGHT_W)
    middle_x = margin + left_w + gap
    middle_w = width - 2 * margin - left_w - right_w - 2 * gap
    right_x = middle_x + middle_w + gap
    loss_h = (upper_h - gap) // 2
    return Layout(
        header=header, banner=banner,
        now=Rect(margin, top, left_w, upper_h),
        predictions=Rect(middle_x, top, middle_w, upper_h),
        error=Rect(margin, lower, left_w, lower_h),
        history=Rect(middle_x, lower, middle_w, lower_h),
        loss=Rect(right_x, top, right_w, loss_h),
        skill=Rect(right_x, top + loss_h + gap, right_w, upper_h - loss_h - gap),
        nodes=Rect(right_x, lower, right_w, lower_h),
        strip=strip, footer=footer,
    )  # fmt: skip


class Composer:
    """Draws pictures of one size and keeps what is costly to draw: text, enlarged frames, the buffer."""

    def __init__(self, size: tuple[int, int] = (1280, 720)) -> None:
        width, height = size
        self.size = size
        self._scale = min(width / 1280, height / 720)
        self._brush = Brush(self._scale)
        self._buffer = np.empty((height, width, 3), dtype=np.uint8)
        self._drawn: tuple[int, float] | None = None  # version and time of the last picture
        self._state: ViewState | None = None

    def stale(self, state: ViewState, now_mono_s: float) -> bool:
        """Whether a new picture would differ: something came, or the clock on it moved on."""
        if self._drawn is None:
            return True
        version, at = self._drawn
        return state.version != version or now_mono_s - at >= _CLOCK_S

    def compose(self, state: ViewState, now_mono_s: float) -> UInt8Array:
        """The picture now, RGB [H, W, 3]. The next call overwrites it: copy it to keep it."""
        brush, picture = self._brush, self._buffer
        if state is not self._state:
            self._state = state
            brush.forget()  # serial numbers of pictures count within one state
        brush.picture = picture
        brush.fill(Rect(0, 0, *self.size), theme.BACKGROUND)
        place = layout(self.size, self._scale, bool(state.alarms))
        draw_header(brush, place.header, state, now_mono_s)
        if place.banner is not None:
            draw_banner(brush, place.banner, state)
        draw_now(brush, place.now, state)
        draw_predictions(brush, place.predictions, state)
        draw_error(brush, place.error, state)
        draw_history(brush, place.history, state)
        draw_loss(brush, place.loss, state)
        draw_skill(brush, place.skill, state)
        draw_nodes(brush, place.nodes, state, now_mono_s)
        draw_strip(brush, place.strip, state, now_mono_s)
        draw_footer(brush, place.footer, state)
        if state.show_help:
            draw_help(brush, Rect(0, 0, *self.size))
        self._drawn = (state.version, now_mono_s)
        return picture


def compose(state: ViewState, size: tuple[int, int] = (1280, 720), now_mono_s: float = 0.0) -> UInt8Array:
    """One picture, RGB [H, W, 3], with nothing kept between calls."""
    return Composer(size).compose(state, now_mono_s)
