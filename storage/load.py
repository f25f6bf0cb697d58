"""Reads what several rooms of a session need: its segments, its books, and where a number is."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from storage.books import STATE_KEY, Books, Episode, State, Stream, episode_key, stream_key
from storage.errors import CorruptSession
from storage.segment import NUMBER, SEQ_KEY, Segment, decode_meta, segment_folders
from storage.spans import Span

CHUNK_EVENTS = 256
CHUNK_BYTES = 16 << 20  # of records taken inside one transaction


def open_segments(path: Path) -> list[Segment]:
    """All segments of the session at `path`, in order; the caller closes them. Raises CorruptSession."""
    segments: list[Segment] = []
    try:
        for folder in segment_folders(path):
            segments.append(Segment(folder))
    except BaseException:
        close_segments(segments)
        raise
    return segments


def close_segments(segments: list[Segment]) -> None:
    for segment in segments:
        segment.close()


def load_books(path: Path) -> Books:
    """The books of the session at `path`, as of its last commit. Raises CorruptSession."""
    segments = open_segments(path)
    try:
        return books_of(segments)
    finally:
        close_segments(segments)


def books_of(segments: list[Segment]) -> Books:
    """The books over these segments: rows of later segments replace those of earlier ones. Raises CorruptSession."""
    books = Books()
    for segment in segments:
        for row in rows_of(segment):
            books.put(row)
    if len(books.streams) < books.state.streams:
        raise CorruptSession(
            f"the books of {segments[-1].path.parent} lack {books.state.streams - len(books.streams)} of {books.state.streams} streams; "
            "`toddle sessions verify` says what is sound"
        )
    return books


def records[T](segments: list[Segment], spans: Iterable[Span], take: Callable[[int, memoryview], T]) -> Iterator[T]:
    """What `take` makes of the records of these events, in order; the buffer it is given lives only while it runs.

    Raises CorruptSession when one is not there.
    """
    for first, last in spans:
        at = first
        for segment in segments:
            while at <= last and (chunk := _chunk(segment, at, last, take)):
                yield from chunk
                at += len(chunk)
        if at <= last:
            place = segments[0].path.parents[1] if segments else "the session"
            raise CorruptSession(f"event {at} of {place} is not there; `toddle sessions verify` lists all damage")


def _chunk[T](segment: Segment, at: int, last: int, take: Callable[[int, memoryview], T]) -> list[T]:
    """The next events of a segment from `at` on, as many as one transaction should hold; none when `at` is elsewhere."""
    out: list[T] = []
    size = 0
    with segment.read() as txn:
        while at <= last and len(out) < CHUNK_EVENTS and size < CHUNK_BYTES:
            record = txn.get(NUMBER.pack(at), db=segment.table("events"))
            if record is None:
                break
            out.append(take(at, record))
            size += len(record)
            at += 1
    return out


def rows_of(segment: Segment) -> list[Stream | Episode | State]:
    """The rows that this segment holds. Raises CorruptSession.

    Each is looked up alone, as events are: in a damaged tree that is an error, where walking along it ends the process.
    """
    with segment.read() as txn:
        table = segment.table("meta")
        value = txn.get(STATE_KEY, db=table)
        if value is None:  # begun, and nothing committed yet
            return []
        state = decode_meta(segment.path, value, State)
        rows: list[Stream | Episode | State] = [state]
        for number in range(state.streams):
            if (value := txn.get(stream_key(number), db=table)) is not None:
                rows.append(decode_meta(segment.path, value, Stream))
        for first, last in state.episodes:
            for number in range(first, last + 1):
                if (value := txn.get(episode_key(number), db=table)) is not None:
                    rows.append(decode_meta(segment.path, value, Episode))
        return rows


def end_of(segment: Segment) -> int:
    """One more than the last event up to this segment: by its books, or by its log where those cannot be read. Raises CorruptSession."""
    try:
        with segment.read() as txn:
            value = txn.get(STATE_KEY, db=segment.table("meta"))
            if value is not None:
                return decode_meta(segment.path, value, State).events
    except CorruptSession:
        pass
    with segment.read() as txn, txn.cursor(db=segment.table("events")) as cursor:
        return int(NUMBER.unpack(cursor.key())[0]) + 1 if cursor.last() else 0


def first_of(segment: Segment, expected: int) -> int:
    """The segment's first event; `expected` when it has none or does not say."""
    try:
        with segment.read() as txn, txn.cursor(db=segment.table("events")) as cursor:
            return int(NUMBER.unpack(cursor.key())[0]) if cursor.first() else expected
    except CorruptSession:
        return expected


def find_seq(path: Path, stream: int, seq: int) -> int | None:
    """The number of the event that holds `seq` of a stream; None when it is not there."""
    segments = open_segments(path)
    try:
        return find_seq_in(segments, stream, seq)
    finally:
        close_segments(segments)


def find_seq_in(segments: list[Segment], stream: int, seq: int) -> int | None:
    """The same, in segments that are open."""
    for segment in reversed(segments):
        with segment.read() as txn:
            found = txn.get(SEQ_KEY.pack(stream, seq), db=segment.table("seq"))
            if found is not None:
                return int(NUMBER.unpack(found)[0])
    return None
