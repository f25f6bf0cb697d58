"""The index entries of an event: written with it by the writer, compared with it by `verify`."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import lmdb

from protocol.messages import Envelope
from storage.segment import KIND_KEY, NUMBER, SEQ_KEY, TIME_KEY, Segment, step_key

MAX_INDEXED = 2**63
"""Episodes, steps and times from here on, or below 0, are stored but not indexed."""


class Entry(NamedTuple):
    """An event as it is to be written."""

    number: int
    record: bytes
    stream: int
    envelope: Envelope


def index_keys(envelope: Envelope, number: int, stream: int) -> Iterator[tuple[str, bytes]]:
    """Every table and key that leads to event `number` of a stream."""
    kind = envelope.topic.partition("/")[0]
    yield "seq", SEQ_KEY.pack(stream, envelope.seq)
    yield "kind", KIND_KEY.pack(kind.encode(), number)
    if 0 <= envelope.t_ns < MAX_INDEXED:
        yield "time", TIME_KEY.pack(envelope.t_ns, number)
    episode, step = envelope.episode, envelope.step
    if episode is not None and 0 <= episode < MAX_INDEXED and (step is None or 0 <= step < MAX_INDEXED):
        yield "step", step_key(kind, episode, step, number)


def put_events(txn: "lmdb.Transaction[bytes]", segment: Segment, entries: Iterable[Entry]) -> None:
    """Events, in order, and their index entries. Only the seq table says the number in its value: its key lacks it."""
    rows: dict[str, list[tuple[bytes, bytes]]] = {"events": []}
    for number, record, stream, envelope in entries:
        key = NUMBER.pack(number)
        rows["events"].append((key, record))
        for table, index_key in index_keys(envelope, number, stream):
            rows.setdefault(table, []).append((index_key, key if table == "seq" else b""))
    for table, items in rows.items():
        with txn.cursor(db=segment.table(table)) as cursor:
            cursor.putmulti(items if table == "events" else sorted(items), append=table == "events")
