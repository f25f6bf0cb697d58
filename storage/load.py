"""Reads what several rooms of a session need: its segments, its books, and where a number is."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from storage.books import Books, Episode, State, Stream
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
    """The books over these segments: rows of later segments replace those of earlier ones."""
    books = Books()
    for segment in segments:
        if not segment.ready():
            continue
        with segment.read() as txn, txn.cursor(db=segment.table("meta")) as cursor:
            for key, value in cursor:
                books.put(_row(segment.path, bytes(key), value))
    return books


def records[T](segments: list[Segment], spans: Iterable[Span], take: Callable[[int, memoryview], T]) -> Iterator[T]:
    """What `take` makes of the records of these events, in order; the buffer it is given lives only while it runs.

    Raises CorruptSession when one is not there.
    """
    ready = [segment for segment in segments if segment.ready()]
    for first, last in spans:
        at = first
        for segment in ready:
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
    with segment.read() as txn, txn.cursor(db=segment.table("events")) as cursor:
        found = cursor.set_key(NUMBER.pack(at))
        while found and at <= last and cursor.key() == NUMBER.pack(at) and len(out) < CHUNK_EVENTS and size < CHUNK_BYTES:
            record = cursor.value()
            out.append(take(at, record))
            size += len(record)
            at += 1
            found = cursor.next()
    return out


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
        if not segment.ready():
            continue
        with segment.read() as txn:
            found = txn.get(SEQ_KEY.pack(stream, seq), db=segment.table("seq"))
            if found is not None:
                return int(NUMBER.unpack(found)[0])
    return None


def _row(path: Path, key: bytes, value: memoryview) -> Stream | Episode | State:
    if key.startswith(b"stream/"):
        return decode_meta(path, value, Stream)
    if key.startswith(b"episode/"):
        return decode_meta(path, value, Episode)
    return decode_meta(path, value, State)
