"""Draws one step of a session as a picture of a video: its cameras, and below them where it is from and what was done."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from nodes.viewer import theme
from nodes.viewer.labels import fitting_label, swatch, tag
from nodes.viewer.widgets import Brush, Rect, fit_size
from protocol.messages import ActionTaken, Robot
from worldmodel.spec import ActionSpace

Picture = np.ndarray[Any, np.dtype[np.uint8]]
CAMERA_H, LARGEST_W, BAR_H, GAP = 360, 1280, 56, 4


class Film:
    """Pictures of one size, [H, W, 3] RGB uint8; both even, as encoders want them."""

    def __init__(self, session: str, robot: Robot, space: ActionSpace | None) -> None:
        self._session = session
        self._robot = robot
        self._space = space
        ratio = sum(camera.width / camera.height for camera in robot.cameras) or 1.0
        self._camera_h = max(1, round(min(CAMERA_H, (LARGEST_W - GAP * len(robot.cameras)) / ratio)))
        width = sum(round(self._camera_h * camera.width / camera.height) + GAP for camera in robot.cameras) - GAP
        self.size = (max(width, 320) // 2 * 2, (self._camera_h + BAR_H) // 2 * 2)
        self._brush = Brush(1.0)

    def places(self) -> dict[str, Rect]:
        """Where each camera stands."""
        found, x = {}, 0
        for camera in self._robot.cameras:
            room = round(self._camera_h * camera.width / camera.height)
            w, h = fit_size(camera.width, camera.height, min(room, self.size[0] - x), self._camera_h)
            found[camera.name] = Rect(x, 0, w, h)
            x += room + GAP
        return found

    def draw(
        self, images: Mapping[str, Picture], episode: int, step: int, seconds: float, *, held_out: bool, last: bool,
        taken: ActionTaken | None, marks: str = "",
    ) -> Picture:  # fmt: skip
        """The picture of one step; `marks` are words on how its episode was judged."""
        brush, (width, height) = self._brush, self.size
        brush.picture = np.full((height, width, 3), theme.BACKGROUND, np.uint8)
        for name, place in self.places().items():
            image = images.get(name)
            if image is None:
                brush.note("no picture", place)
                continue
            grows = place.h >= image.shape[0]
            fitted = cv2.resize(image, (place.w, place.h), interpolation=cv2.INTER_NEAREST if grows else cv2.INTER_AREA)
            brush.put(np.asarray(fitted, np.uint8), place.x, place.y)
        if held_out:
            tag(brush, 6, 6, "held out", theme.PINK)
        y, pad = self._camera_h + 16, 8
        room = width - 2 * pad
        clock = f"{seconds:.2f} s"
        brush.text(clock, width - pad, y, theme.BODY, theme.MUTED, align="right")
        said = f"{self._session}   episode {episode}  step {step}{f'   {marks}' if marks else ''}"
        brush.text(said, pad, y, theme.BODY, theme.TEXT, bold=True, width=room - brush.text_width(clock, theme.BODY) - pad)
        self._action(Rect(pad, y + 24, room, 0), taken, last)
        return brush.picture

    def _action(self, place: Rect, taken: ActionTaken | None, last: bool) -> None:
        brush = self._brush
        if taken is None:
            brush.text("the end" if last else "no action", place.x, place.y, theme.BODY, theme.FAINT)
            return
        x = place.x + swatch(brush, place.x, place.y, taken.action, self._space)
        how = " ".join([taken.by, *(["safe"] if taken.safe else []), *([] if taken.success else ["failed"])])
        brush.text(how, place.right, place.y, theme.SMALL, theme.MUTED if taken.success else theme.AMBER, align="right")
        room = place.right - x - brush.text_width(how, theme.SMALL) - 8
        label, size = fitting_label(brush, taken.action, (theme.BODY, theme.SMALL), room)
        brush.text(label, x, place.y, size, theme.TEXT, width=room)
