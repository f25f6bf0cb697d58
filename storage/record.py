"""One event as it stands on disk.

    crc32c of all that follows (u32) | event number (u64) | header length (u32) | number of arrays (u16)
    per array: codec (u8), stored length (u64)
    the message's header, as on the wire | stored arrays

All numbers are big endian. The number inside the checksum ties the bytes to their key.
"""

import struct
from collections.abc import Collection
from pathlib import Path

import crc32c
import msgspec

from protocol.codec import DTYPES, assemble, decode_header, header_of
from protocol.errors import DecodeError, EncodeError
from protocol.messages import Message
from storage.arrays import LEFT_OUT, ArrayCodec
from storage.errors import BadMessage, CorruptEvent

_CRC = struct.Struct(">I")
_BEGIN = struct.Struct(">IQ")
_PREFIX = struct.Struct(">QIH")
_ARRAY = struct.Struct(">BQ")


class Event(msgspec.Struct, frozen=True):
    """A recorded message, its number in the session, and the names of arrays that were not stored."""

    number: int
    message: Message
    left_out: tuple[str, ...] = ()


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
    crc, written = _BEGIN.unpack_from(record)
    if crc32c.crc32c(record[_CRC.size :]) != crc:
        raise CorruptEvent(path, number, "its bytes are not the ones that were written (CRC32C)")
    if written != number:
        raise CorruptEvent(path, number, f"it holds the bytes of event {written}")


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
    header = decode_header(data)
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
    return Event(number, message, tuple(left_out))
