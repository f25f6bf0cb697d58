"""Pictures in files: read as RGB, written as JPEG."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import MissingPackage, StorageError

JPEG_QUALITY = 95
"""What exports write: a fraction of a grey level of error on real frames, see docs/exchange.md."""


def opencv() -> Any:
    """OpenCV, which only imports and exports of pictures need. Raises MissingPackage where it is not installed."""
    try:
        import cv2
    except ImportError:
        raise MissingPackage("pictures in files need OpenCV: python -m pip install -c constraints.txt -e '.[viewer]'") from None
    return cv2


def read_image(file: Path) -> NDArray[np.uint8]:
    """The picture as [H, W, 3] uint8 RGB. Raises ValueError that says what is wrong with it."""
    cv2 = opencv()
    try:
        data = file.read_bytes()
    except OSError:
        raise ValueError(f"image {file.name} is missing") from None
    # a JPEG that was cut decodes without complaint, its rest grey: only its end mark tells
    if data[:2] == b"\xff\xd8" and b"\xff\xd9" not in data[-64:]:
        raise ValueError(f"image {file.name} is cut off")
    decoded = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
    if decoded is None:
        raise ValueError(f"image {file.name} cannot be decoded")
    return np.ascontiguousarray(decoded[:, :, ::-1], dtype=np.uint8)


def write_jpeg(file: Path, image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> None:
    """Write [H, W, 3] uint8 RGB."""
    cv2 = opencv()
    ok, data = cv2.imencode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise StorageError(f"OpenCV cannot write a picture of {image.shape[1]}x{image.shape[0]} as JPEG: {file}")
    file.write_bytes(data.tobytes())


def resized(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """[H, W, 3] to [height, width, 3], its sides each for itself; averaged where it shrinks, linear where it grows."""
    if image.shape[:2] == (height, width):
        return image
    cv2 = opencv()
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR), dtype=np.uint8)
