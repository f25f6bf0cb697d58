"""Images as Foxglove and ROS 2 write them, to arrays and back."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.exchange.images import decode_image, encode_image
from storage.exchange.mcap import protobuf
from storage.exchange.mcap.cdr import Definition
from storage.exchange.mcap.walk import Found

RAW, COMPRESSED = "foxglove.RawImage", "foxglove.CompressedImage"
_RAW_NAMES = {RAW, "sensor_msgs/msg/Image"}
_COMPRESSED_NAMES = {COMPRESSED, "sensor_msgs/msg/CompressedImage"}
_COLOURS = {
    "rgb8": (0, 1, 2), "8UC3": (0, 1, 2), "bgr8": (2, 1, 0), "rgba8": (0, 1, 2), "bgra8": (2, 1, 0), "mono8": (0, 0, 0), "8UC1": (0, 0, 0),
}  # fmt: skip
_CHANNELS = {"rgba8": 4, "bgra8": 4, "mono8": 1, "8UC1": 1}
_DEPTHS = {"mono16": "u2", "16UC1": "u2", "32FC1": "f4"}

Array = NDArray[Any]


def encode_picture(array: Array, form: str, stamp_ns: int, frame_id: str) -> bytes:
    """[H, W, 3] uint8, or [H, W] uint16 or float32, as a protobuf message; `form` is `raw`, `png` or `jpeg`.

    Raises ExportProblem. Only uint8 can be `png` or `jpeg`.
    """
    if form != "raw":
        data = encode_image(array, ".png" if form == "png" else ".jpg")
        return protobuf.encode_image(COMPRESSED, stamp_ns, {"frame_id": frame_id, "data": data, "format": form})
    encoding = "rgb8" if array.ndim == 3 else "16UC1" if array.dtype == np.uint16 else "32FC1"
    whole = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    fields = {
        "frame_id": frame_id, "width": array.shape[1], "height": array.shape[0], "encoding": encoding,
        "step": whole.strides[0], "data": whole.reshape(-1).view(np.uint8).data,
    }  # fmt: skip
    return protobuf.encode_image(RAW, stamp_ns, fields)


def is_picture(found: Found) -> bool:
    """Whether `decode_picture` is for this message."""
    return _form(found) != ""


def decode_picture(found: Found) -> Array:
    """[H, W, 3] uint8 RGB; depth as [H, W] uint16 or float32. Raises ValueError that says what is wrong."""
    form = _form(found)
    fields = decode_fields(found)
    try:
        return _from_raw(fields) if form == "raw" else _from_compressed(fields)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no image of its schema: {type(error).__name__}: {error}") from None


def decode_fields(found: Found) -> Any:
    """The content of a JSON, CDR or Foxglove protobuf message. Raises ValueError."""
    encoding, schema = found.channel.message_encoding, found.schema
    if encoding == "json":
        return msgspec.json.decode(found.data)
    if schema is not None and encoding == "cdr" and schema.encoding == "ros2msg":
        return _definition(schema.name, schema.data).decode(found.data)
    if schema is not None and encoding == "protobuf" and schema.name in protobuf.IMAGES:
        return protobuf.decode_image(schema.name, found.data)
    raise ValueError(f"messages in {encoding!r} cannot be read")


def readable(found: Found) -> bool:
    """Whether `decode_fields` knows the encoding of this message."""
    encoding, schema = found.channel.message_encoding, found.schema
    if encoding == "json":
        return True
    cdr = encoding == "cdr" and schema is not None and schema.encoding == "ros2msg"
    return cdr or (encoding == "protobuf" and schema is not None and schema.name in protobuf.IMAGES)


def _form(found: Found) -> str:
    name = found.schema.name if found.schema else ""
    if not readable(found):
        return ""
    return "raw" if name in _RAW_NAMES else "compressed" if name in _COMPRESSED_NAMES else ""


@lru_cache(maxsize=64)
def _definition(name: str, text: bytes) -> Definition:
    return Definition(name, text.decode("utf-8", errors="replace"))


def _data(fields: Mapping[str, Any]) -> memoryview:
    data = fields["data"]
    if isinstance(data, str):  # JSON has it in base64
        return memoryview(msgspec.convert(data, bytes))
    return memoryview(data).cast("B")


def _from_raw(fields: Mapping[str, Any]) -> Array:
    width, height, encoding, data = int(fields["width"]), int(fields["height"]), str(fields["encoding"]), _data(fields)
    if encoding in _DEPTHS:
        dtype = np.dtype((">" if fields.get("is_bigendian") else "<") + _DEPTHS[encoding])
    elif encoding in _COLOURS:
        dtype = np.dtype(np.uint8)
    else:
        raise ValueError(f"images in {encoding[:20]!r} cannot be read; {', '.join([*_COLOURS, *_DEPTHS])} can")
    row = width * _CHANNELS.get(encoding, 1 if encoding in _DEPTHS else 3) * dtype.itemsize
    step = int(fields.get("step") or row)
    if not width or not height or step < row or len(data) < step * (height - 1) + row:
        raise ValueError(f"an image of {width}x{height} in {encoding} whose {len(data)} bytes do not fit")
    if len(data) < step * height:
        data = memoryview(bytes(data) + bytes(step * height - len(data)))
    rows = np.frombuffer(data[: step * height], np.uint8).reshape(height, step)[:, :row]
    if encoding in _DEPTHS:
        return np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="))
    pixels = rows.reshape(height, width, -1)
    return pixels if encoding in ("rgb8", "8UC3") else np.ascontiguousarray(pixels[:, :, _COLOURS[encoding]])


def _from_compressed(fields: Mapping[str, Any]) -> Array:
    data = _data(fields)
    if "compressedDepth" in str(fields.get("format")):
        raise ValueError("compressedDepth images cannot be read")
    return decode_image(data, f"its {str(fields.get('format'))[:20]}", depth=True)
