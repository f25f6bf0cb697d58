"""One event as it stands on disk.

    crc32c of all that follows (u32) | event number (u64) | header length (u32) | number of arrays (u16)
    per array: codec (u8), stored length (u64)
    the message's header, as on the wire | stored arrays

All numbers are big endian. The number inside the checksum ties the bytes to their key.
"""

import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

import crc32c
import msgspec

from protocol.codec import DTYPES, Header, assemble, decode_header, header_of
from protocol.errors import DecodeError, EncodeError
from protocol.messages import Message
from storage.arrays import LEFT_OUT, ArrayCodec
from storage.errors import BadMessage, CorruptEvent

_CRC = struct.Struct(">I")
_BEGIN = struct.Struct(">IQ")
_PREFIX = struct.Struct(">QIH")
_ARRAY = struct.Struct(">BQ")


class Event(msgspec.Struct, frozen=True):
    """A recorded message, its number in the session, and the names of arrays that were not stored.

    `header` are the header's bytes as they came, which tell of those arrays too.
    """

    number: int
    message: Message
    left_out: tuple[str, ...] = ()
    header: bytes = b""


def encode_record(number: int, message: Message, codec: ArrayCodec, leave_out: Collection[str] = ()) -> bytes:
    """The stored bytes of `message` as event `number`. Raises BadMessage when it is not one of the topic table's."""
    try:
        header = header_of(message)
    except EncodeError as error:
        raise BadMessage(f"message refused by the recorder: {error}") from None
    if not message.arrays:
        body = _PREFIX.pack(number, len(header), 0) + header
        return _CRC.pack(crc32c.crc32c(body)) + body
    table: list[bytes] = []
    buffers: list[bytes | memoryview] = []
    for name, array in message.arrays.items():
        kind, stored = (LEFT_OUT, b"") if name in leave_out else codec.encode(message.kind, array)
        table.append(_ARRAY.pack(kind, len(stored)))
        buffers.append(stored)
    parts = [_PREFIX.pack(number, len(header), len(table)), *table, header, *buffers]
    crc = 0
    for part in parts:
        crc = crc32c.crc32c(part, crc)
    return b"".join([_CRC.pack(crc), *parts])


def decode_record(number: int, record: memoryview, codec: ArrayCodec, path: Path) -> Event:
    """The event in `record`; its arrays are copies, so the buffer may go. Raises CorruptEvent; `path` names the session."""
    check_record(number, record, path)
    try:
        return _decode(number, record, codec)
    except DecodeError as error:
        raise CorruptEvent(path, number, f"checksum right, but {error}") from None
    except (ValueError, struct.error) as error:
        raise CorruptEvent(path, number, f"checksum right, but the record does not decode: {error}") from None


def check_record(number: int, record: memoryview, path: Path) -> None:
    """Raise CorruptEvent unless these are the bytes that were written for event `number`."""
    if len(record) < _CRC.size + _PREFIX.size:
        raise CorruptEvent(path, number, f"record of {len(record)} bytes")
    # before the checksum: a length that a damaged page gives may lead beyond the file, where reading ends the process
    if (told := _told_size(record)) != len(record):
        raise CorruptEvent(path, number, f"record of {len(record)} bytes that says it has {told}")
    crc, written = _BEGIN.unpack_from(record)
    if crc32c.crc32c(record[_CRC.size :]) != crc:
        raise CorruptEvent(path, number, "its bytes are not the ones that were written (CRC32C)")
    if written != number:
        raise CorruptEvent(path, number, f"it holds the bytes of event {written}")


def _told_size(record: memoryview) -> int:
    """How long the record says it is; -1 when it does not say."""
    _, size, count = _PREFIX.unpack_from(record, _CRC.size)
    at = _CRC.size + _PREFIX.size
    if at + count * _ARRAY.size > len(record):
        return -1
    stored = sum(_ARRAY.unpack_from(record, at + i * _ARRAY.size)[1] for i in range(count))
    return int(at + count * _ARRAY.size + size + stored)


def read_header_of(number: int, record: memoryview, path: Path) -> Header[Any]:
    """The message's header alone, without a look at the rest of the record. Raises CorruptEvent."""
    try:
        at, size = _header_place(record)
        return decode_header(record[at : at + size])
    except (DecodeError, struct.error) as error:
        raise CorruptEvent(path, number, str(error)) from None


def copied(number: int, record: bytes, header: Header[Any] | None = None) -> bytes:
    """A sound record as event `number`, with another header if one is given; its arrays stay as they are stored."""
    at, size = _header_place(memoryview(record))
    data = record[at : at + size] if header is None else msgspec.msgpack.encode(header)
    _, _, count = _PREFIX.unpack_from(record, _CRC.size)
    table = record[_CRC.size + _PREFIX.size : at]
    rest = memoryview(record)[at + size :]
    start = _PREFIX.pack(number, len(data), count) + table + data
    return b"".join([_CRC.pack(crc32c.crc32c(rest, crc32c.crc32c(start))), start, rest])


def copied_bytes(record: memoryview, header: Header[Any]) -> int:
    """How long `copied` makes the record with another header."""
    return len(record) - _header_place(record)[1] + len(msgspec.msgpack.encode(header))


def _header_place(record: memoryview) -> tuple[int, int]:
    """Where the message's header begins in a record, and its length."""
    _, size, count = _PREFIX.unpack_from(record, _CRC.size)
    return _CRC.size + _PREFIX.size + count * _ARRAY.size, size


def parts_of(record: memoryview) -> tuple[memoryview, list[tuple[int, memoryview]]]:
    """The header's bytes, and codec and stored bytes of each array, of a checked record. Raises ValueError, struct.error."""
    at = _CRC.size
    _, header_size, count = _PREFIX.unpack_from(record, at)
    at += _PREFIX.size
    table = [_ARRAY.unpack_from(record, at + i * _ARRAY.size) for i in range(count)]
    at += count * _ARRAY.size
    header = record[at : at + header_size]
    at += header_size
    arrays: list[tuple[int, memoryview]] = []
    for kind, size in table:
        arrays.append((kind, record[at : at + size]))
        at += size
    if at != len(record):
        raise ValueError("lengths do not add up")
    return header, arrays


def _decode(number: int, record: memoryview, codec: ArrayCodec) -> Event:
    data, arrays = parts_of(record)
    header_bytes = bytes(data)
    header = decode_header(header_bytes)
    if len(header.arrays) != len(arrays):
        raise ValueError("lengths do not add up")
    kept, left_out, buffers = [], [], []
    for (name, dtype, shape), (kind, stored) in zip(header.arrays, arrays, strict=True):
        if kind == LEFT_OUT:
            left_out.append(name)
        else:
            kept.append((name, dtype, shape))
            buffers.append(codec.decode(kind, stored, DTYPES[dtype], shape))
    message = assemble(msgspec.structs.replace(header, arrays=kept), buffers)
    return Event(number, message, tuple(left_out), header_bytes)
