"""An MCAP that toddle wrote, message for message as the session had it."""

import math
from typing import Any

import msgspec
import numpy as np

from protocol.codec import SCHEMA_VERSION, Header, assemble
from protocol.errors import DecodeError
from protocol.messages import Array, Envelope, Message
from protocol.topics import topic_of
from storage.exchange.common import Skipped
from storage.exchange.mcap.exporting import About
from storage.exchange.mcap.pictures import decode_picture
from storage.exchange.mcap.schemas import put_back_not_finite
from storage.exchange.mcap.walk import Found, McapFile


class Described(msgspec.Struct, frozen=True):
    """An array as the JSON says it: its bytes are in `data`, or are a picture on `topic`."""

    name: str
    dtype: str
    shape: list[int]
    topic: str = ""
    data: bytes = b""


def about(metadata: dict[str, str]) -> About:
    """Raises ValueError when the metadata record is none of ours."""
    plain = {name: msgspec.json.decode(metadata[name]) for name in About.__struct_fields__ if name in metadata}
    return msgspec.convert(plain, About)


class Ours:
    """Takes the file's messages in order and gives the session's."""

    def __init__(self, file: McapFile) -> None:
        self._file = file
        self._waiting: dict[tuple[str, int], dict[str, Found]] = {}  # (topic, seq) to its pictures; of each topic the newest only

    def take(self, found: Found) -> tuple[Message, tuple[str, ...]] | None:
        """A message and the names of arrays that were left out of it, when this completes one. Faults go to the file's."""
        of = found.channel.metadata.get("array_of")
        try:
            if of is not None:
                self._put(found, of)
                return None
            if "toddle" not in found.channel.metadata:
                raise ValueError("no toddle wrote it")
            return self._message(found)
        except (ValueError, LookupError, TypeError, msgspec.MsgspecError, DecodeError) as error:
            why = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            self._file.fault(found, f" {found.sequence}: {why}")
            return None

    def end(self) -> None:
        """Whatever waits still has no message."""
        for of, sequence in self._waiting:
            self._lost(of, sequence)

    def _put(self, found: Found, of: str) -> None:
        key = of, found.sequence
        for other in [other for other in self._waiting if other[0] == of and other != key]:
            del self._waiting[other]
            self._lost(*other)
        self._waiting.setdefault(key, {})[found.channel.topic] = found

    def _lost(self, of: str, sequence: int) -> None:
        self._file.faults.add(Skipped(where=str(self._file.path), why=f"{of} {sequence}: its pictures are there, its message is not"))

    def _message(self, found: Found) -> tuple[Message, tuple[str, ...]]:
        plain: dict[str, Any] = msgspec.json.decode(found.data)
        put_back_not_finite(plain)
        envelope = msgspec.convert(plain["envelope"], Envelope)
        if envelope.topic != found.channel.topic:
            raise ValueError(f"it says that it is of {envelope.topic!r}")
        pictures = self._waiting.pop((envelope.topic, found.sequence), {})
        described = msgspec.convert(plain.get("arrays", []), list[Described])
        buffers = [one.data if not one.topic else self._picture(one, pictures) for one in described]
        body = msgspec.convert(plain["body"], topic_of(envelope.topic).body)
        header = Header(SCHEMA_VERSION, envelope, body, [(one.name, one.dtype, one.shape) for one in described])
        message = assemble(header, buffers)
        left_out = tuple(msgspec.convert(plain.get("left_out", []), list[str]))
        # an array that was left out is known by its name alone
        nothing: dict[str, Array] = {name: np.empty(0, np.uint8) for name in left_out}
        return (msgspec.structs.replace(message, arrays={**message.arrays, **nothing}) if left_out else message), left_out

    def _picture(self, one: Described, pictures: dict[str, Found]) -> memoryview:
        if one.topic not in pictures:
            raise ValueError(f"its picture on {one.topic} is missing")
        array = decode_picture(pictures[one.topic])
        shape = (math.prod(one.shape[:-2]), *one.shape[-2:]) if one.shape[-1] == 3 and array.ndim == 3 else tuple(one.shape)
        if (array.shape, str(array.dtype)) != (shape, one.dtype):
            raise ValueError(f"its picture on {one.topic} is {array.shape} {array.dtype}, expected {one.shape} {one.dtype}")
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
