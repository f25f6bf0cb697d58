"""Pictures as files have them, PNG and JPEG: to RGB arrays and back."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import ExportProblem, MissingPackage

JPEG_QUALITY = 95
"""What exports write: a fraction of a grey level of error on real frames, see docs/exchange.md."""


def opencv() -> Any:
    """OpenCV, which only imports and exports of pictures need. Raises MissingPackage where it is not installed."""
    try:
        import cv2
    except ImportError:
        raise MissingPackage("pictures in files need OpenCV: python -m pip install -c constraints.txt -e '.[viewer]'") from None
    return cv2


def decode_image(data: bytes | memoryview, name: str, *, depth: bool = False) -> NDArray[Any]:
    """A PNG or JPEG as [H, W, 3] uint8 RGB; with `depth` one channel of 16 bit as [H, W] uint16. Raises ValueError."""
    cv2 = opencv()
    # a JPEG that was cut decodes without complaint, its rest grey: only its end mark tells
    if bytes(data[:2]) == b"\xff\xd8" and b"\xff\xd9" not in bytes(data[-64:]):
        raise ValueError(f"{name} is cut off")
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED if depth else cv2.IMREAD_COLOR) if len(data) else None
    if found is None:
        raise ValueError(f"{name} cannot be decoded")
    if depth and found.ndim == 2 and found.dtype == np.uint16:
        return np.asarray(found)
    if depth and (found.ndim, found.shape[-1], found.dtype) != (3, 3, np.uint8):  # grey, with alpha, of 16 bit: as colours
        return decode_image(data, name)
    return np.ascontiguousarray(found[:, :, ::-1], dtype=np.uint8)


def encode_image(image: NDArray[np.uint8], ending: str = ".jpg", quality: int = JPEG_QUALITY) -> bytes:
    """[H, W, 3] uint8 RGB as `.jpg`, or as `.png`. Raises ExportProblem."""
    cv2 = opencv()
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if ending == ".jpg" else []
    done, data = cv2.imencode(ending, np.ascontiguousarray(image[:, :, ::-1]), options)
    if not done:
        raise ExportProblem(f"a picture of {image.shape[1]}x{image.shape[0]} cannot be written as {ending[1:]}")
    return bytes(data)


def missing_image(file: Path) -> str:
    return f"image {file.name} is missing"


def read_image(file: Path) -> NDArray[np.uint8]:
    """The picture as [H, W, 3] uint8 RGB. Raises ValueError that says what is wrong with it."""
    try:
        data = file.read_bytes()
    except OSError:
        raise ValueError(missing_image(file)) from None
    return decode_image(data, f"image {file.name}")


def write_jpeg(file: Path, image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> None:
    """Write [H, W, 3] uint8 RGB."""
    file.write_bytes(encode_image(image, quality=quality))


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """[H, W, 3] to [height, width, 3], its sides each for itself; averaged where it shrinks, linear where it grows."""
    if image.shape[:2] == (height, width):
        return image
    cv2 = opencv()
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), dtype=np.uint8)
