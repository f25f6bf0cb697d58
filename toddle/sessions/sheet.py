"""A contact sheet: pictures of a session in rows, with where they are from and what was done then."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from nodes.viewer import theme
from nodes.viewer.labels import fitting_label, swatch, tag
from nodes.viewer.widgets import Brush, Rect, fit_size
from nodes.worlds import model_actions
from protocol.messages import ActionTaken, Array, Robot
from worldmodel.spec import ActionSpace, SpecError

Picture = np.ndarray[Any, np.dtype[np.uint8]]

WIDTH, SCALE = 1600, 1.25
PICTURE_H, LARGEST_H, MIN_W, MAX_W = 104, 150, 112, 560
LABELS_H = 40


class Shown(NamedTuple):
    """One frame: its place, seconds since its episode's first frame (None: not known), its cameras, and what was done."""

    episode: int
    step: int | None
    at_s: float | None
    held_out: bool
    last: bool
    pictures: Mapping[str, Array]
    action: ActionTaken | None


def draw(session: str, robot: Robot | None, shown: Sequence[Shown], total: int) -> Picture:
    """RGB uint8 [H, 1600, 3]."""
    brush = Brush(SCALE)
    gap, margin, header = brush.px(6), brush.px(theme.MARGIN), brush.px(theme.HEADER_H)
    cell_w, picture_h = _cell(brush, shown)
    columns = max(1, min(len(shown), (WIDTH - 2 * margin + gap) // (cell_w + gap)))
    rows = -(-len(shown) // columns)
    if rows > 1:  # as wide as the sheet
        wide = (WIDTH - 2 * margin + gap) // columns - gap
        picture_h, cell_w = min(round(picture_h * wide / cell_w), brush.px(LARGEST_H)), wide
    cell_h = picture_h + brush.px(LABELS_H) + 2 * brush.px(4)
    brush.picture = np.full((header + rows * (cell_h + gap) - gap + margin, WIDTH, 3), theme.BACKGROUND, dtype=np.uint8)
    _header(brush, Rect(margin, 0, WIDTH - 2 * margin, header), session, robot, f"{len(shown)} of {total:,} steps")
    space = _space(robot)
    episodes = sorted({one.episode for one in shown})
    for index, one in enumerate(shown):
        row, column = divmod(index, columns)
        cell = Rect(margin + column * (cell_w + gap), header + row * (cell_h + gap), cell_w, cell_h)
        begins = not index or shown[index - 1].episode != one.episode
        _draw_cell(brush, cell, picture_h, one, space, shade=episodes.index(one.episode) % 2, begins=begins)
    return brush.picture


def _cell(brush: Brush, shown: Sequence[Shown]) -> tuple[int, int]:
    """Width of a cell, height of its pictures: cameras side by side, all of one height."""
    ratio = max((sum(image.shape[1] / image.shape[0] for image in one.pictures.values()) for one in shown), default=1.0) or 1.0
    height = min(brush.px(PICTURE_H), round(brush.px(MAX_W) / ratio))
    return max(brush.px(MIN_W), round(height * ratio)) + 2 * brush.px(5), height


def _header(brush: Brush, rect: Rect, session: str, robot: Robot | None, told: str) -> None:
    y = rect.y + rect.h / 2
    x = rect.x + brush.text("toddle", rect.x, y, theme.BRAND, theme.BLUE, bold=True) + brush.px(14)
    x += brush.text(session, x, y, theme.VALUE, width=rect.w // 3) + brush.px(18)
    brush.text(_about(robot) if robot else "", x, y, theme.BODY, theme.MUTED, width=rect.w // 3)
    brush.text(f"{told}; what was done after each frame stands below it", rect.right, y, theme.BODY, theme.MUTED, align="right")


def _about(robot: Robot) -> str:
    """Its driver, and the order of what the cells show without names."""
    cameras = f"   {', '.join(camera.name for camera in robot.cameras)}" if len(robot.cameras) > 1 else ""
    return f"{robot.driver}{cameras}{f'   {" ".join(robot.actions.names)}' if len(robot.actions.names) > 1 else ''}"


def shrunk(image: Array) -> Array:
    """[H, W, 3] no larger than it will be drawn, so that many fit into memory."""
    share = LARGEST_H * SCALE / image.shape[0]
    if share >= 1:
        return image
    size = max(1, round(image.shape[1] * share)), max(1, round(image.shape[0] * share))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _draw_cell(brush: Brush, cell: Rect, picture_h: int, one: Shown, space: ActionSpace | None, *, shade: int, begins: bool) -> None:
    pad = brush.px(4)
    brush.fill(cell, (theme.PANEL, theme.RAISED)[shade])
    if begins:
        brush.fill(Rect(cell.x, cell.y, brush.px(3), cell.h), theme.BLUE)
    images = list(one.pictures.values())
    sizes = [fit_size(image.shape[1], image.shape[0], cell.w - 2 * pad, picture_h) for image in images]
    x = cell.x + (cell.w - sum(w for w, _ in sizes) - brush.px(2) * (len(sizes) - 1)) // 2
    left = x
    for index, (image, (w, h)) in enumerate(zip(images, sizes, strict=True)):
        place = Rect(x, cell.y + pad + (picture_h - h) // 2, w, h)
        brush.put(brush.fitted((id(one.pictures), index), np.ascontiguousarray(image), w, h), place.x, place.y)
        x += w + brush.px(2)
    if not images:
        brush.note("no picture", Rect(cell.x, cell.y, cell.w, picture_h))
    if one.held_out:
        tag(brush, left + brush.px(4), cell.y + pad + brush.px(4), "held out", theme.PINK)
    y = cell.y + pad + picture_h + brush.px(11)
    x, right = cell.x + brush.px(7), cell.right - brush.px(6)
    clock = "" if one.at_s is None else f"{one.at_s:.1f} s"
    brush.text(clock, right, y, theme.SMALL, theme.FAINT, align="right")
    room = right - x - brush.text_width(clock, theme.SMALL) - brush.px(6)
    step = "-" if one.step is None else one.step
    brush.text(f"e{one.episode}  step {step}", x, y, theme.SMALL, theme.TEXT, bold=begins, width=room)
    _draw_action(brush, Rect(x, round(y + brush.px(16)), right - x, 0), one, space)


def _draw_action(brush: Brush, place: Rect, one: Shown, space: ActionSpace | None) -> None:
    """What was executed after this frame, in its colours; a safe or failed one says so."""
    if one.action is None:
        brush.text("the end" if one.last else "no action", place.x, place.y, theme.SMALL, theme.FAINT, width=place.w)
        return
    taken = one.action
    x = place.x + swatch(brush, place.x, place.y, taken.action, space)
    extra = "failed" if not taken.success else "safe" if taken.safe else ""
    if extra:
        brush.text(extra, place.right, place.y, theme.SMALL, theme.AMBER, align="right")
    room = place.right - x - (brush.text_width(extra, theme.SMALL) + brush.px(6) if extra else 0)
    label, size = fitting_label(brush, taken.action, (theme.SMALL,), room)
    brush.text(label, x, place.y, size, theme.MUTED, width=room)


def _space(robot: Robot | None) -> ActionSpace | None:
    """For the colours of actions; None when they have none."""
    try:
        return model_actions(robot.actions) if robot else None
    except (ValueError, SpecError):
        return None
