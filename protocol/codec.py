"""Messages to bytes and back: `[topic, header, buffer...]`, a msgpack header and raw array buffers.

Arrays never go through msgpack: the header describes them (name, dtype from a closed list, shape) and
their buffers follow. Decoding trusts nothing: it checks version, sizes, types and lengths before it makes
an array, and refuses with a `DecodeError` whose `reason` is counted by the bus.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import msgspec
import numpy as np

from protocol.errors import DecodeError, EncodeError
from protocol.messages import Array, Body, Envelope, Message, Wire
from protocol.topics import TOPICS, Topic

SCHEMA_VERSION = 1
MAX_TOPIC_BYTES = 256
MAX_HEADER_BYTES = 64 * 1024
MAX_ARRAYS = 64
MAX_DIMS = 8
MAX_ITEMS = 8192
"""Of one list in a header: room for all that fits 64 KiB, and no room for one that only says it is long."""
DTYPES = {name: np.dtype(name) for name in ("uint8", "uint16", "int32", "int64", "float16", "float32", "float64", "bool")}
_DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

Buffer = bytes | memoryview


class Header[B: Body](msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The header as it stands on the wire."""

    v: int
    envelope: Envelope
    body: B
    arrays: list[tuple[str, str, list[int]]] = []


class _Outgoing(msgspec.Struct, frozen=True):
    """The same, of a message that is checked already."""

    v: int
    envelope: Envelope
    body: Any
    arrays: list[tuple[str, str, tuple[int, ...]]]


_HEADERS: dict[str, type[Header[Any]]] = {kind: Header[row.body] for kind, row in TOPICS.items()}  # type: ignore[name-defined]
OFTEN = ("frame", "action", "command", "prediction", "metrics")
"""Kinds that come many times a second, without a field of type Any: msgspec alone reads their headers, as strictly, in one call."""
_READERS = {kind: msgspec.msgpack.Decoder(_HEADERS[kind]) for kind in OFTEN}


def encode(message: Message) -> list[Buffer]:
    """The parts of `message` as they go on the wire; array buffers are shared, not copied.

    Raises EncodeError when the message is over its topic's limit or holds what the wire does not carry.
    """
    return encode_parts(_topic(message.topic, EncodeError), message.envelope, message.body, message.arrays)


def encode_parts(row: Topic, envelope: Envelope, body: Body, arrays: Mapping[str, Array]) -> list[Buffer]:
    """The same, of a message whose parts lie at hand; `row` is its topic's."""
    topic = envelope.topic.encode()
    if len(topic) > MAX_TOPIC_BYTES:
        raise EncodeError(f"topic of {len(topic)} bytes, the limit is {MAX_TOPIC_BYTES}")
    parts: list[Buffer] = [topic, _header(row, envelope, body, arrays)]
    for array in arrays.values():
        whole = array if array.flags.c_contiguous else np.ascontiguousarray(array)
        parts.append(memoryview(whole).cast("B") if whole.size else b"")
    return parts


def row_to_publish(name: str) -> Topic:
    """The row of a full topic name; EncodeError when there is none."""
    return _topic(name, EncodeError)


def encode_header(message: Message) -> bytes:
    """The msgpack header alone, checked against the limits of its topic."""
    return _header(_topic(message.topic, EncodeError), message.envelope, message.body, message.arrays)


def header_of(message: Message) -> Buffer:
    """The header as the message came with it, if it did and nothing of it was replaced since; else as `encode_header` makes it."""
    wire = message.wire
    if wire is not None and wire.envelope is message.envelope and wire.body is message.body and wire.arrays is message.arrays:
        return wire.header
    return encode_header(message)


def _header(row: Topic, envelope: Envelope, body: Body, arrays: Mapping[str, Array]) -> bytes:
    name = envelope.topic
    described = []
    total = 0
    if len(arrays) > MAX_ARRAYS:
        raise EncodeError(f"{name}: {len(arrays)} arrays, the limit is {MAX_ARRAYS}")
    for key, array in arrays.items():
        dtype = _DTYPE_NAMES.get(array.dtype)
        if dtype is None:  # of another kind, or of another byte order
            raise EncodeError(f"{name}: array {key!r} has dtype {array.dtype}; the wire carries {', '.join(DTYPES)}")
        if array.ndim > MAX_DIMS:
            raise EncodeError(f"{name}: array {key!r} has {array.ndim} dimensions, the limit is {MAX_DIMS}")
        described.append((key, dtype, array.shape))
        total += array.nbytes
    if total > row.max_bytes:
        raise EncodeError(f"{name}: {total} bytes of arrays, the limit of this topic is {row.max_bytes}")
    if not isinstance(body, row.body):
        raise EncodeError(f"{name}: body is {type(body).__name__}, expected {row.body.__name__}")
    try:
        header = _WRITER.encode(_Outgoing(SCHEMA_VERSION, envelope, body, described))
    except (TypeError, ValueError, OverflowError) as error:
        raise EncodeError(f"{name}: {error}") from None
    if len(header) > MAX_HEADER_BYTES:
        raise EncodeError(f"{name}: header of {len(header)} bytes, the limit is {MAX_HEADER_BYTES}; large values belong in arrays")
    return header


def decode(parts: Sequence[Buffer]) -> Message:
    """The message in `parts`; arrays are read-only views of the buffers.

    Raises DecodeError, always with a named reason, on anything that is not a valid message.
    """
    if len(parts) < 2:
        raise DecodeError("parts", f"{len(parts)} parts, expected at least topic and header")
    if len(parts[0]) > MAX_TOPIC_BYTES:
        raise DecodeError("topic", f"topic of {len(parts[0])} bytes, the limit is {MAX_TOPIC_BYTES}")
    try:
        name = str(parts[0], "utf-8")
    except UnicodeDecodeError:
        raise DecodeError("topic", "topic is not UTF-8") from None
    header = _read_often(name, parts[1]) or decode_header(parts[1])
    if header.envelope.topic != name:
        raise DecodeError("topic", f"topic {name!r} carries a header of {header.envelope.topic[:MAX_TOPIC_BYTES]!r}")
    return assemble(header, parts[2:], parts[1])


def _read_often(name: str, data: Buffer) -> Header[Any] | None:
    """The checked header of a kind that comes often; None where anything is wrong with it, which `decode_header` can tell."""
    reader = _READERS.get(name.partition("/")[0])
    if reader is None or len(data) > MAX_ITEMS:  # a longer one has room for lists that are too long
        return None
    try:
        header = reader.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return header if header.v == SCHEMA_VERSION else None


def decode_header(data: Buffer) -> Header[Any]:
    """The checked header with its typed body; what it says of arrays is not yet compared with any buffer."""
    if len(data) > MAX_HEADER_BYTES:
        raise DecodeError("header_size", f"header of {len(data)} bytes, the limit is {MAX_HEADER_BYTES}")
    try:
        plain = msgpack.unpackb(
            data, strict_map_key=True, max_ext_len=0, max_str_len=MAX_HEADER_BYTES,
            max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS,
        )  # fmt: skip
    except Exception as error:  # msgpack raises many kinds; all mean the same here
        raise DecodeError("msgpack", f"{type(error).__name__}: {error}") from None
    if not isinstance(plain, dict) or plain.get("v") != SCHEMA_VERSION:
        version = plain.get("v") if isinstance(plain, dict) else None
        said = version if isinstance(version, int) else type(version).__name__  # it may be as long as the header
        raise DecodeError("version", f"schema version {said}, this toddle speaks {SCHEMA_VERSION}")
    envelope = plain.get("envelope")
    name = envelope.get("topic") if isinstance(envelope, dict) else None
    if not isinstance(name, str):
        raise DecodeError("header", "it has no envelope with a topic")
    _topic(name, DecodeError)
    try:
        header: Header[Any] = msgspec.convert(plain, _HEADERS[name.partition("/")[0]], strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        text = str(error)
        raise DecodeError("body" if "`$.body" in text else "header", f"{name[:MAX_TOPIC_BYTES]}: {text}") from None
    return header


def assemble(header: Header[Any], buffers: Sequence[Buffer], data: Buffer = b"") -> Message:
    """Join a checked header, whose bytes are `data`, with its buffers; every length is compared before an array is made."""
    topic = _topic(header.envelope.topic, DecodeError)
    if len(header.arrays) != len(buffers):
        raise DecodeError("parts", f"{len(header.arrays)} arrays announced, {len(buffers)} buffers came")
    if len(buffers) > MAX_ARRAYS:
        raise DecodeError("parts", f"{len(buffers)} arrays, the limit is {MAX_ARRAYS}")
    if sum(map(len, buffers)) > topic.max_bytes:
        raise DecodeError("size", f"{header.envelope.topic}: over the topic's limit of {topic.max_bytes} bytes")
    arrays: dict[str, Array] = {}
    for (name, dtype_name, shape), buffer in zip(header.arrays, buffers, strict=True):
        arrays[name] = _array(name, dtype_name, shape, buffer)
    if len(arrays) != len(buffers):
        raise DecodeError("arrays", "two arrays of one name")
    wire = Wire(data, header.envelope, header.body, arrays) if data else None
    return Message(envelope=header.envelope, body=header.body, arrays=arrays, wire=wire)


def _array(name: str, dtype_name: str, shape: list[int], buffer: Buffer) -> Array:
    dtype = DTYPES.get(dtype_name)
    if dtype is None:
        raise DecodeError("dtype", f"array {name[:40]!r} has dtype {dtype_name[:40]!r}, which is not allowed")
    if len(shape) > MAX_DIMS or (shape and min(shape) < 0):
        raise DecodeError("shape", f"array {name[:40]!r} has shape {shape[:MAX_DIMS]}")
    if math.prod(shape) * dtype.itemsize != len(buffer):
        raise DecodeError("length", f"array {name[:40]!r} says {shape} {dtype_name}, its buffer has {len(buffer)} bytes")
    try:
        array: Array = np.ndarray(shape, dtype, buffer)
    except (ValueError, OverflowError):  # an empty array with a size beyond any machine's
        raise DecodeError("shape", f"array {name[:40]!r} has an impossible shape") from None
    array.setflags(write=False)
    return array


def _number(value: Any) -> Any:
    """A numpy number, as drivers give them, to the plain one; TypeError for all else."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"the wire does not carry {type(value).__name__}")


_WRITER = msgspec.msgpack.Encoder(enc_hook=_number)


def _topic(name: str, error: type[EncodeError] | type[DecodeError]) -> Topic:
    kind, slash, node = name.partition("/")
    if kind in TOPICS and slash and node:
        return TOPICS[kind]
    text = f"unknown topic {name[:60]!r}; topics are <kind>/<node> with a kind of {', '.join(TOPICS)}"
    raise EncodeError(text) if error is EncodeError else DecodeError("topic", text)
