"""Where the messages of a kind are, read from the indexes alone: no record is touched."""

from collections.abc import Mapping, Sequence
from typing import Any

import lmdb
import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.books import Stream
from storage.errors import CorruptSession
from storage.segment import NO_STEP, NUMBER, SEQ_KEY, Segment, step_key

IntArray = NDArray[np.int64]
_STEP_ROW = np.dtype([("kind", "S16"), ("episode", ">u8"), ("step", ">u8"), ("event", ">u8")])


class Places(msgspec.Struct, frozen=True):
    """A row per message, in arrival order: its event number, its source, its episode and step, int64 [N] each.

    A source is a number for one run of one publisher, the same for all kinds of the session: a robot that was started
    again, or another robot, is another source.
    """

    event: IntArray
    source: IntArray
    episode: IntArray
    step: IntArray

    def __len__(self) -> int:
        return len(self.event)


def joined_places(parts: Sequence[Places]) -> Places:
    """The rows of one after the other."""
    if not parts:
        return Places(*(np.empty(0, np.int64) for _ in Places.__struct_fields__))
    return Places(*(np.concatenate([getattr(part, name) for part in parts]) for name in Places.__struct_fields__))


def sources_of(streams: Mapping[tuple[str, str], Stream]) -> dict[int, int]:
    """Stream id to source; ids and sources are given in the order of coming, so both stay when a session grows."""
    known: dict[tuple[str, str], int] = {}
    found = {}
    for stream in sorted(streams.values(), key=lambda stream: stream.id):
        found[stream.id] = known.setdefault((stream.topic.partition("/")[2], stream.run), len(known))
    return found


def places_in(segment: Segment, txn: "lmdb.Transaction[memoryview]", kind: str, streams: Mapping[int, int], limit: int) -> Places:
    """The places of a segment's messages of `kind` that have an episode and a step, below event `limit`.

    `streams`: id to source, of all streams of that kind that begin below it. Raises CorruptSession when indexes disagree.
    """
    first = step_key(kind, 0, 0, 0)
    with txn.cursor(db=segment.table("step")) as cursor:
        rows = np.frombuffer(_keys_from(cursor, first, 16), _STEP_ROW)
    rows = rows[(rows["step"] != NO_STEP) & (rows["event"] < limit)]
    rows = rows[np.argsort(rows["event"], kind="stable")]
    events = rows["event"].astype(np.int64)
    numbers, sources = _sources(segment, txn, streams)
    at = np.searchsorted(numbers, events)
    if (at == len(numbers)).any() or (numbers[at] != events).any():
        raise CorruptSession(f"two indexes of {segment.path} disagree on {kind} messages; `toddle sessions verify` lists all damage")
    return Places(events, sources[at], rows["episode"].astype(np.int64), rows["step"].astype(np.int64))


def _sources(segment: Segment, txn: "lmdb.Transaction[memoryview]", streams: Mapping[int, int]) -> tuple[IntArray, IntArray]:
    """Event numbers of these streams, sorted, and the source of each."""
    numbers: list[NDArray[Any]] = []
    sources: list[IntArray] = []
    with txn.cursor(db=segment.table("seq")) as cursor:
        for stream, source in streams.items():
            key = SEQ_KEY.pack(stream, 0)
            values: list[memoryview] = []
            if cursor.set_range(key):
                for found, value in cursor:
                    if found[:4] != key[:4]:
                        break
                    values.append(value)
            numbers.append(np.frombuffer(b"".join(values), ">u8").astype(np.int64))
            sources.append(np.full(len(values), source, np.int64))
    every = np.concatenate([np.empty(0, np.int64), *numbers])
    order = np.argsort(every, kind="stable")
    return every[order], np.concatenate([np.empty(0, np.int64), *sources])[order]


def _keys_from(cursor: "lmdb.Cursor[memoryview]", first: bytes, same: int) -> bytes:
    """The keys from `first` on that begin with its first `same` bytes, one after the other."""
    keys: list[memoryview] = []
    if cursor.set_range(first):
        for key in cursor.iternext(keys=True, values=False):
            if key[:same] != first[:same]:
                break
            keys.append(key)
    return b"".join(keys)


def first_number(segment: Segment) -> int | None:
    """The first event of a segment; None while it has none."""
    with segment.read() as txn, txn.cursor(db=segment.table("events")) as cursor:
        return int(NUMBER.unpack(cursor.key())[0]) if cursor.first() else None
