"""ROS 2 messages without ROS: the definition that MCAP carries (`ros2msg`) says how the bytes (CDR) are to be read."""

import re
import struct
from typing import Any, NamedTuple

import numpy as np

_NUMBERS = {
    "bool": "?", "byte": "u1", "char": "u1", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8",
}  # fmt: skip
_FIELD = re.compile(r"(?P<type>[\w/]+)(?:<=\d+)?(?P<array>\[(?:<=)?\d*\])?\s+(?P<name>\w+)\s*(?P<constant>=)?")
_SEPARATOR = re.compile(r"^={3,}\s*$", re.MULTILINE)


class Field(NamedTuple):
    """`length`: None for one value, -1 for as many as the message says, else as many."""

    name: str
    type: str
    length: int | None


class Definition:
    """How to read messages of one type. Raises ValueError where its text cannot be understood."""

    def __init__(self, name: str, text: str) -> None:
        first, *others = _SEPARATOR.split(text)
        self._types = {_short(name): _fields(first)}
        for other in others:
            head, _, body = other.strip().partition("\n")
            self._types[_short(head.removeprefix("MSG:").strip())] = _fields(body)
        self._root = _short(name)

    def decode(self, data: memoryview) -> dict[str, Any]:
        """A message as nested dicts; arrays of numbers are numpy arrays. Raises ValueError."""
        if len(data) < 4 or data[0] != 0 or data[1] not in (0, 1):
            raise ValueError("it is not plain CDR")
        try:
            return self._message(_Reader(data[4:], "<" if data[1] else ">"), self._root)
        except (struct.error, IndexError, RecursionError) as error:
            raise ValueError(f"it is cut off, or of another type ({type(error).__name__})") from None

    def _message(self, reader: "_Reader", name: str) -> dict[str, Any]:
        fields = self._types.get(name)
        if fields is None:
            raise ValueError(f"nothing says what {name} is")
        if not fields:
            reader.number("u1")  # an empty message is a byte on the wire
        return {field.name: self._value(reader, field) for field in fields}

    def _value(self, reader: "_Reader", field: Field) -> Any:
        if field.length is None:
            return self._one(reader, field.type)
        count = int(reader.number("u4")) if field.length < 0 else field.length
        if field.type in _NUMBERS:
            return reader.numbers(_NUMBERS[field.type], count)
        if count > reader.left:
            raise ValueError(f"{field.name} says that it has {count} entries, and there are no more bytes")
        return [self._one(reader, field.type) for _ in range(count)]

    def _one(self, reader: "_Reader", name: str) -> Any:
        if name in _NUMBERS:
            return reader.number(_NUMBERS[name])
        return reader.text() if name == "string" else self._message(reader, _short(name))


class _Reader:
    """Bytes in CDR: every number at a multiple of its size."""

    def __init__(self, data: memoryview, order: str) -> None:
        self._data = data
        self._order = order
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def number(self, kind: str) -> Any:
        return self.numbers(kind, 1)[0].item()

    def numbers(self, kind: str, count: int) -> "np.ndarray[Any, np.dtype[Any]]":
        dtype = np.dtype(self._order + kind)
        at = -(-self._at // dtype.itemsize) * dtype.itemsize if count else self._at
        if count * dtype.itemsize > len(self._data) - at:
            raise ValueError("it is cut off")
        self._at = at + count * dtype.itemsize
        return np.frombuffer(self._data[at : self._at], dtype)

    def text(self) -> str:
        size = int(self.number("u4"))
        return str(self.numbers("u1", size).tobytes().rstrip(b"\0"), "utf-8")


def _short(name: str) -> str:
    """`std_msgs/msg/Header`, `std_msgs/Header` and `Header` are all `Header`."""
    return name.rpartition("/")[2]


def _fields(text: str) -> tuple[Field, ...]:
    fields = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        found = _FIELD.match(line)
        if found is None or found["type"] == "wstring":
            raise ValueError(f"its definition has a line that is not understood: {line[:60]!r}")
        if found["constant"]:
            continue
        size = (found["array"] or "").strip("[]")
        count = None if found["array"] is None else int(size) if size.isdigit() else -1
        fields.append(Field(found["name"], found["type"], count))
    return tuple(fields)
