"""Frames as JPEG: about a tenth of the bytes, and not quite what the camera gave. OpenCV does it, where it is installed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import MissingPackage

QUALITY = 95
"""One to two dB nearer to the frame than 90, for half as many bytes again (figures in docs/benchmarks.md)."""
MAX_SIDE = 65500  # of an image OpenCV makes a JPEG of


def check_installed() -> None:
    """Raise MissingPackage when there is no OpenCV."""
    try:
        import cv2  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            f"codec jpeg needs OpenCV, which cannot be imported ({error}): python -m pip install -c constraints.txt -e '.[viewer]', "
            "or choose another codec where you record"
        ) from None


def fits(array: NDArray[Any]) -> bool:
    """Whether this is one RGB image."""
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and max(array.shape) <= MAX_SIDE


def encode(image: NDArray[np.uint8]) -> memoryview:
    """uint8 [H, W, 3] RGB to the bytes of a JPEG file."""
    check_installed()
    import cv2

    done, stored = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return memoryview(stored.reshape(-1).data)


def decode(stored: memoryview, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] RGB again. Raises ValueError when the bytes are no image of this shape."""
    check_installed()
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ValueError(f"no JPEG: {str(error).splitlines()[0]}") from None
    if image is None or image.shape != shape or image.dtype != np.uint8:
        raise ValueError(f"JPEG of {'nothing' if image is None else image.shape}, expected {shape}")
    return image  # type: ignore[return-value]
