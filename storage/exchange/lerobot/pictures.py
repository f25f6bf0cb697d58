"""Pictures that lie in data files, and cameras stacked into one picture."""

from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from storage.errors import ImportProblem
from storage.exchange.lerobot.installed import first_line, lerobot_module
from storage.exchange.lerobot.layout import Camera

Stack = Literal["vertical", "horizontal"]
STACKED = "stacked"
"""The name of the camera that stands for all."""


def decoded(value: Any, root: Path) -> NDArray[np.uint8]:
    """The picture {"bytes", "path"} of a data file as [H, W, 3] RGB. Raises ValueError that says what is wrong with it."""
    data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (None, None)
    if data is None and path:
        try:
            data = (root / path).read_bytes()
        except OSError:
            raise ValueError(f"the picture {path} is missing") from None
    if not data:
        raise ValueError("the picture is missing")
    image = lerobot_module("PIL.Image")
    try:
        with image.open(BytesIO(data)) as picture:  # a picture that was cut is an error here; OpenCV would make up its rest
            return np.asarray(picture.convert("RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"the picture cannot be decoded: {first_line(error)}") from None


def stacked_size(cameras: list[Camera], sizes: dict[str, tuple[int, int]], stack: Stack) -> tuple[int, int]:
    """Height and width of all cameras in one picture, in their order. Raises ImportProblem when they do not fit."""
    heights, widths = zip(*(sizes[camera.key] for camera in cameras), strict=True)
    same, what = (widths, "wide") if stack == "vertical" else (heights, "high")
    if len(set(same)) > 1:
        told = ", ".join(f"{camera.name} {sizes[camera.key][1]}x{sizes[camera.key][0]}" for camera in cameras)
        raise ImportProblem(f"cameras that are stacked {stack}ly must be equally {what}: {told}; without --stack they are kept apart")
    return (sum(heights), widths[0]) if stack == "vertical" else (heights[0], sum(widths))


def stacked(images: list[NDArray[np.uint8]], stack: Stack) -> NDArray[np.uint8]:
    """One picture of all, [H, W, 3] each."""
    return np.concatenate(images, axis=0 if stack == "vertical" else 1)
