"""From what LeRobot observes to pictures, depth and state. Pure."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.robot.arm.options import NO_CAMERA, ArmOptions
from nodes.robot.interface import Observation, RobotError

STACKED = "stacked"


class Layout:
    """Which of LeRobot's features are joints, cameras and depth, and how the pictures are laid out."""

    def __init__(self, features: Mapping[str, Any], options: ArmOptions) -> None:
        """Raises RobotError for features that are none of these, and pictures that do not fit together."""
        shapes = {name: tuple(shape) for name, shape in features.items() if isinstance(shape, tuple)}
        self.state = [name for name, kind in features.items() if kind is float]
        self.depth = [name for name, shape in shapes.items() if len(shape) == 2 or shape[2:] == (1,)]
        self.cameras = [name for name, shape in shapes.items() if shape[2:] == (3,)]
        self._shape, self._stack = options.shape, options.stack
        for name in shapes:
            if name not in self.depth and name not in self.cameras:
                raise RobotError(f"camera {name!r} gives pictures of shape {shapes[name]}: neither colour (3 channels) nor depth (1)")
        if self._stack and self.cameras:
            self._check_fit(shapes)

    def _check_fit(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        side = 1 if self._stack == "vertical" else 0
        sizes = {name: (self._shape or shapes[name][:2])[side] for name in self.cameras}
        if len(set(sizes.values())) > 1:
            what = "widths" if side else "heights"
            told = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise RobotError(f"stack {self._stack}: the cameras' {what} differ ({told}); give size, such as size: 224")

    def observation(self, seen: Mapping[str, Any]) -> Observation:
        """Raises RobotError for an arm without cameras, and when a picture is not what was promised."""
        if not self.cameras:
            raise RobotError(NO_CAMERA)
        images = {name: self._resized(_picture(name, seen[name])) for name in self.cameras}
        if self._stack:
            images = {STACKED: np.concatenate(list(images.values()), axis=0 if self._stack == "vertical" else 1)}
        depth = {name: _depth(name, seen[name]) for name in self.depth}
        state = np.array([seen[name] for name in self.state], dtype=np.float32)
        return Observation(images=images, depth=depth, state=state)

    def _resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._shape is None or image.shape[:2] == self._shape:
            return image
        import cv2

        shrinks = self._shape[0] < image.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, self._shape[::-1], interpolation=how), np.uint8)


def _picture(name: str, image: Any) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise RobotError(f"camera {name!r} gave {_kind(image)}, not a colour picture of 8 bit")
    return np.ascontiguousarray(image)


def _depth(name: str, image: Any) -> NDArray[Any]:
    flat = image[..., 0] if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 1 else image
    if not isinstance(flat, np.ndarray) or flat.ndim != 2 or flat.dtype not in (np.uint16, np.float32):
        raise RobotError(f"depth camera {name!r} gave {_kind(image)}, not HxW of uint16 or float32")
    return np.ascontiguousarray(flat)


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
