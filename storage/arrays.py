"""Arrays to stored bytes and back, lossless but for `jpeg`.

`delta-zstd` stores, for uint8 images, each row's difference to the one above, then zstd level 1: on real frames
1.7 times smaller than raw or more, where zstd alone gains 1.1 to 1.2. Differences along rows shrink as much and take
four times as long to undo (`make bench ARGS=codecs`, figures in docs/benchmarks.md).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import zstandard
from numpy.typing import NDArray

from storage import jpeg
from storage.errors import StorageError

CodecName = Literal["raw", "zstd", "delta-zstd", "jpeg"]
CODEC_IDS: dict[str, int] = {"raw": 0, "zstd": 1, "delta-zstd": 3, "jpeg": 4}
LEFT_DELTA = 2
"""Once written as `delta-zstd`, read for ever: differences to the pixel on the left."""
LEFT_OUT = 255
"""In place of a codec: the array was not stored, on purpose."""
DEFAULT_CODEC: CodecName = "delta-zstd"
LOSSY: tuple[CodecName, ...] = ("jpeg",)
SMALL_BYTES = 1024
"""Below this arrays are stored raw: compressing them costs more than it saves."""
_ROWS = 16  # of an image, summed side by side


def codecs_for(codec: str) -> dict[str, str]:
    """The codec of each topic kind, `*` for the rest, when frames are to be stored with `codec`.

    Only frames may be stored with loss. Raises StorageError when it is unknown, or needs what is not installed.
    """
    if codec not in CODEC_IDS:
        raise StorageError(f"unknown codec {codec!r}; one of {', '.join(CODEC_IDS)}")
    if codec == "jpeg":
        jpeg.check_installed()
    prediction = DEFAULT_CODEC if codec in LOSSY else codec
    return {"frame": codec, "prediction": prediction, "*": "raw" if codec == "raw" else "zstd"}


class ArrayCodec:
    """Encodes and decodes arrays; holds zstd's state, so one thread at a time."""

    def __init__(self, codecs: Mapping[str, str]) -> None:
        self._codecs = dict(codecs)
        self._compressor = zstandard.ZstdCompressor(level=1)
        self._decompressor = zstandard.ZstdDecompressor()
        self._scratch = np.empty(0, np.uint8)

    def encode(self, kind: str, array: NDArray[Any]) -> tuple[int, bytes | memoryview]:
        """Codec id and stored bytes of `array` of any shape; `raw` whenever that is not larger."""
        array = np.ascontiguousarray(array)
        raw = array.reshape(-1).view(np.uint8).data
        name = self._codecs.get(kind, self._codecs.get("*", "raw"))
        if name == "raw" or array.nbytes < SMALL_BYTES:
            return CODEC_IDS["raw"], raw
        stored: bytes | memoryview
        if name == "jpeg" and jpeg.fits(array):
            stored = jpeg.encode(array)
        elif name in ("delta-zstd", "jpeg") and _is_image(array):
            name = "delta-zstd"
            stored = self._compressor.compress(_delta(array, self._room(array)).reshape(-1).data)
        else:
            name = "zstd"
            stored = self._compressor.compress(raw)
        return (CODEC_IDS[name], stored) if len(stored) < array.nbytes else (CODEC_IDS["raw"], raw)

    def decode(self, codec: int, stored: memoryview, dtype: np.dtype[Any], shape: Sequence[int]) -> bytes | memoryview:
        """The raw bytes of an array again, never a view of `stored`. Raises ValueError when they do not fit."""
        if codec == CODEC_IDS["raw"]:
            return bytes(stored)
        self._check(codec, stored, math.prod(shape) * dtype.itemsize)  # before anything is allocated by it
        out = np.empty(tuple(shape), dtype)
        self.decode_into(codec, stored, out)
        return out.reshape(-1).view(np.uint8).data.toreadonly()

    def decode_into(self, codec: int, stored: memoryview, out: NDArray[Any]) -> None:
        """Decode into `out`, which has the array's dtype and shape and any strides. Raises ValueError when they do not fit.

        Where `out` is contiguous the pixels are written once, in place; a JPEG's are copied once more.
        """
        self._check(codec, stored, out.nbytes)
        if codec == CODEC_IDS["raw"]:
            np.copyto(out, np.ndarray(out.shape, out.dtype, stored))
        elif codec == CODEC_IDS["jpeg"]:
            np.copyto(out, jpeg.decode(stored, out.shape))
        elif out.flags.c_contiguous:
            self._unpack(codec, stored, out)
        else:
            room = self._room(out)
            self._unpack(codec, stored, room)
            np.copyto(out, room)

    def _check(self, codec: int, stored: memoryview, size: int) -> None:
        """Raise ValueError unless the stored bytes say that they are an array of `size` bytes, as far as they tell."""
        if codec == CODEC_IDS["jpeg"]:
            return
        if codec == CODEC_IDS["raw"]:
            if len(stored) != size:
                raise ValueError(f"{len(stored)} raw bytes, expected {size}")
            return
        if codec not in (CODEC_IDS["zstd"], CODEC_IDS["delta-zstd"], LEFT_DELTA):
            raise ValueError(f"unknown codec number {codec}")
        try:
            announced = zstandard.frame_content_size(stored)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
        if announced != size:
            raise ValueError(f"zstd frame of {announced} bytes, expected {size}")

    def _unpack(self, codec: int, stored: memoryview, out: NDArray[Any]) -> None:
        """Undo zstd and differences; `out` is contiguous."""
        try:
            got = self._decompressor.stream_reader(stored).readinto(out.reshape(-1).view(np.uint8).data)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from None
        if got != out.nbytes:
            raise ValueError(f"zstd frame ends after {got} bytes, expected {out.nbytes}")
        if codec == CODEC_IDS["delta-zstd"]:
            _undelta(out)
        elif codec == LEFT_DELTA:
            _undelta_left(out)

    def _room(self, like: NDArray[Any]) -> NDArray[Any]:
        """Contiguous memory of this array's shape and dtype, used again by the next call."""
        if self._scratch.size < like.nbytes:
            self._scratch = np.empty(like.nbytes, np.uint8)
        return self._scratch[: like.nbytes].view(like.dtype).reshape(like.shape)


def _is_image(array: NDArray[Any]) -> bool:
    return array.dtype == np.uint8 and array.ndim >= 3 and array.shape[-1] == 3


def _delta(images: NDArray[np.uint8], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[..., H, W, 3] uint8 to the differences along H, modulo 256, in `out`."""
    out[..., :1, :, :] = images[..., :1, :, :]
    np.subtract(images[..., 1:, :, :], images[..., :-1, :, :], out=out[..., 1:, :, :])
    return out


def _undelta(images: NDArray[np.uint8]) -> None:
    """The inverse of `_delta`, in place: a running sum along H, modulo 256.

    Row after row would cost a call each: strips of 16 rows are summed at once, then each strip takes on the last row
    of the one above it.
    """
    height, width = images.shape[-3:-1]
    rows = images.reshape(-1, height, width * 3)
    whole = height - height % _ROWS
    strips = rows[:, :whole].reshape(len(rows), -1, _ROWS, width * 3)
    for row in range(1, _ROWS):
        strips[:, :, row] += strips[:, :, row - 1]
    for strip in range(1, strips.shape[1]):
        strips[:, strip] += strips[:, strip - 1, -1:]
    for row in range(max(whole, 1), height):
        rows[:, row] += rows[:, row - 1]


def _undelta_left(images: NDArray[np.uint8]) -> None:
    """A running sum along W, modulo 256, in place; by doubling the stride, log2(W) wide additions."""
    width, stride = images.shape[-2], 1
    while stride < width:
        images[..., stride:, :] += images[..., :-stride, :]
        stride *= 2
