"""A recorded message inside a message: how an exact replay keeps every bit, and the bus its books.

A topic belongs to the node that publishes it, and its numbers have no holes. A recording breaks both: it holds
the topics of many nodes, over several of their runs, with its own gaps. So a replay publishes each recorded
message whole, header and arrays as they were, inside a message of its own topic `played/<node>`, whose numbers
the bus counts like any other. Pure.
"""

from collections.abc import Collection, Mapping

import msgspec
import numpy as np

from protocol import codec
from protocol.errors import DecodeError
from protocol.messages import Array, Message, Played, Wire

HEADER = "~header"


def wrap(header: bytes, arrays: Mapping[str, Array], left_out: Collection[str] = ()) -> tuple[Played, dict[str, Array]]:
    """Body and arrays that carry a message with these header bytes; arrays in `left_out` were not recorded."""
    return Played(left_out=list(left_out)), {HEADER: np.frombuffer(header, np.uint8), **arrays}


def unwrap(outer: Message) -> tuple[Message, frozenset[str]]:
    """The message inside, with the header it came with, and the names of its arrays that were not recorded.

    Those are there in shape only: they take no memory and hold zeros. Raises DecodeError.
    """
    header = outer.arrays.get(HEADER)
    if header is None or header.dtype != np.uint8 or header.ndim != 1:
        raise DecodeError("arrays", f"{outer.topic} carries no message")
    data = header.tobytes()
    inner = codec.decode_header(data)
    left_out = frozenset(outer.body.left_out)
    kept = [described for described in inner.arrays if described[0] not in left_out]
    if [name for name, *_ in kept] != [name for name in outer.arrays if name != HEADER]:
        raise DecodeError("arrays", f"{outer.topic} carries other arrays than its {inner.envelope.topic} has")
    buffers = [memoryview(np.ascontiguousarray(outer.arrays[name])).cast("B") if outer.arrays[name].size else b"" for name, *_ in kept]
    whole = codec.assemble(msgspec.structs.replace(inner, arrays=kept), buffers)
    arrays = {name: whole.arrays[name] if name in whole.arrays else _absent(dtype, shape) for name, dtype, shape in inner.arrays}
    wire = Wire(data, inner.envelope, inner.body, arrays)
    return Message(envelope=inner.envelope, body=inner.body, arrays=arrays, wire=wire), left_out


def _absent(dtype: str, shape: list[int]) -> Array:
    try:
        absent: Array = np.broadcast_to(np.zeros((), codec.DTYPES[dtype]), shape)
    except (KeyError, ValueError, OverflowError):
        raise DecodeError("arrays", f"an array of {dtype[:20]!r} {shape[: codec.MAX_DIMS]}") from None
    return absent
