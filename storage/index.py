"""The index entries of an event: written with it by the writer, compared with it by `verify`."""

from collections.abc import Iterator

import lmdb

from protocol.messages import Message
from storage.segment import KIND_KEY, NUMBER, SEQ_KEY, TIME_KEY, Segment, step_key

MAX_INDEXED = 2**63
"""Episodes, steps and times from here on, or below 0, are stored but not indexed."""


def index_keys(message: Message, number: int, stream: int) -> Iterator[tuple[str, bytes]]:
    """Every table and key that leads to event `number` of a stream."""
    envelope, kind = message.envelope, message.kind
    yield "seq", SEQ_KEY.pack(stream, envelope.seq)
    yield "kind", KIND_KEY.pack(kind.encode(), number)
    if 0 <= envelope.t_ns < MAX_INDEXED:
        yield "time", TIME_KEY.pack(envelope.t_ns, number)
    episode, step = envelope.episode, envelope.step
    if episode is not None and 0 <= episode < MAX_INDEXED and (step is None or 0 <= step < MAX_INDEXED):
        yield "step", step_key(kind, episode, step, number)


def put_event(txn: "lmdb.Transaction[bytes]", segment: Segment, number: int, record: bytes, stream: int, message: Message) -> None:
    """One event and its index entries. Only the seq table says the number in its value: its key lacks it."""
    key = NUMBER.pack(number)
    txn.put(key, record, append=True, db=segment.table("events"))
    for table, index_key in index_keys(message, number, stream):
        txn.put(index_key, key if table == "seq" else b"", db=segment.table(table))
