"""One number for what a session holds, however it is stored: codec, segments, name and place play no part.

SHA-256 over all events in order: for each the length and bytes of its header (msgpack, as on the wire, without the name of
the session), the names of arrays that were left out, and the raw bytes of its arrays.
"""

import hashlib
import struct

import msgspec
import numpy as np

from protocol.codec import header_of
from storage.record import Event

_LENGTH = struct.Struct(">Q")


class ContentHash:
    """Takes events in order."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def add(self, event: Event) -> None:
        envelope = msgspec.structs.replace(event.message.envelope, session=None)
        header = header_of(msgspec.structs.replace(event.message, envelope=envelope))
        left_out = msgspec.msgpack.encode(event.left_out)
        for part in (header, left_out):
            self._sha256.update(_LENGTH.pack(len(part)))
            self._sha256.update(part)
        for array in event.message.arrays.values():
            self._sha256.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()
