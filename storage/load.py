"""Reads what several rooms of a session need: its segments, its books, and where a number is."""

from pathlib import Path

from storage.books import Books, Episode, State, Stream
from storage.segment import NUMBER, SEQ_KEY, Segment, decode_meta, segment_folders


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
