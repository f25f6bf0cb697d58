"""As much of protobuf's wire format as the two image messages of Foxglove need, so that nobody must install it."""

import struct
from collections.abc import Mapping
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

TIME = {"seconds": (1, VARINT), "nanos": (2, VARINT)}
RAW_IMAGE = {
    "timestamp": (1, BYTES), "frame_id": (7, BYTES), "width": (2, FIXED32), "height": (3, FIXED32), "encoding": (4, BYTES),
    "step": (5, FIXED32), "data": (6, BYTES),
}  # fmt: skip
COMPRESSED_IMAGE = {"timestamp": (1, BYTES), "frame_id": (4, BYTES), "data": (2, BYTES), "format": (3, BYTES)}
IMAGES = {"foxglove.RawImage": RAW_IMAGE, "foxglove.CompressedImage": COMPRESSED_IMAGE}

_TEXT = ("frame_id", "encoding", "format")
_TYPES = {
    "timestamp": 11,
    "data": 12,
    "width": 7,
    "height": 7,
    "step": 7,
    "seconds": 3,
    "nanos": 5,
}  # descriptor.proto's numbers; text is 9


def encode_image(schema: str, stamp_ns: int, fields: Mapping[str, Any]) -> bytes:
    """A message of `schema`, which is one of IMAGES; values are str, int or bytes-like."""
    seconds, nanos = divmod(stamp_ns, 10**9)
    stamp = _message(TIME, {"seconds": seconds, "nanos": nanos})
    return _message(IMAGES[schema], {"timestamp": stamp, **fields})


def decode_image(schema: str, data: memoryview) -> dict[str, Any]:
    """The fields of a message by name, what is missing as zero or nothing. Raises ValueError."""
    form = IMAGES[schema]
    found = _numbered(data)
    fields: dict[str, Any] = {}
    for name, (number, wire) in form.items():
        value = found.get(number, b"" if wire == BYTES else 0)
        if isinstance(value, int) is (wire == BYTES):
            raise ValueError(f"field {name} has another type than {schema} says")
        fields[name] = bytes(value).decode() if name in _TEXT else value
    return fields


def descriptor(schema: str) -> bytes:
    """The FileDescriptorSet of a schema, as MCAP wants it."""
    imported = _file("google/protobuf/timestamp.proto", "google.protobuf", "Timestamp", TIME, b"")
    name = schema.removeprefix("foxglove.")
    own = _file(f"foxglove/{name}.proto", "foxglove", name, IMAGES[schema], _text(3, "google/protobuf/timestamp.proto"))
    return _bytes(1, imported) + _bytes(1, own)


def _file(path: str, package: str, name: str, form: dict[str, tuple[int, int]], imports: bytes) -> bytes:
    fields = b"".join(_bytes(2, _described(field, number)) for field, (number, _) in sorted(form.items(), key=lambda item: item[1]))
    return _text(1, path) + _text(2, package) + imports + _bytes(4, _text(1, name) + fields) + _text(12, "proto3")


def _described(name: str, number: int) -> bytes:
    kind = _TYPES.get(name, 9)
    of = _text(6, ".google.protobuf.Timestamp") if kind == 11 else b""
    return _text(1, name) + _varint(3 << 3) + _varint(number) + _varint(4 << 3) + _varint(1) + _varint(5 << 3) + _varint(kind) + of


def _message(form: Mapping[str, tuple[int, int]], fields: Mapping[str, Any]) -> bytes:
    parts = []
    for name, value in fields.items():
        number, wire = form[name]
        if wire == BYTES:
            parts.append(_text(number, value) if isinstance(value, str) else _bytes(number, value))
        else:
            parts.append(_varint(number << 3 | wire) + (struct.pack("<I", value) if wire == FIXED32 else _varint(value)))
    return b"".join(parts)


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _bytes(number: int, value: bytes | memoryview) -> bytes:
    return b"".join((_varint(number << 3 | BYTES), _varint(len(value)), value))


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _numbered(data: memoryview) -> dict[int, int | memoryview]:
    """Field number to value; of a field that comes twice the last one."""
    fields: dict[int, int | memoryview] = {}
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire = key & 7
        size = {FIXED64: 8, FIXED32: 4}.get(wire, 0)
        if wire == BYTES:
            size, at = _read_varint(data, at)
        if wire not in (VARINT, FIXED64, BYTES, FIXED32) or size > len(data) - at:
            raise ValueError("it is cut off, or no protobuf")
        if wire == VARINT:
            fields[key >> 3], at = _read_varint(data, at)
        else:
            value = data[at : at + size]
            fields[key >> 3] = value if wire == BYTES else int.from_bytes(value, "little")
            at += size
    return fields


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("it is cut off, or no protobuf")
