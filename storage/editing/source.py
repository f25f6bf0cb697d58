"""A session or a split as edits see it: a log whose records are copied as they stand, and the spans of it that count."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from protocol.codec import Header as MessageHeader
from storage.books import Books
from storage.editing.table import Table
from storage.errors import SessionLocked
from storage.header import Header, read_header
from storage.load import books_of, close_segments, open_segments, records
from storage.lock import writer_pid
from storage.record import check_record, read_header_of
from storage.spans import Span
from storage.splitfile import base_of, read_split


class Copy(NamedTuple):
    """An event as it is stored: its number, its message's header, its whole record."""

    number: int
    header: MessageHeader[Any]
    record: bytes


class Source:
    """What is at `path`; `base` holds its log, `spans` say which events of it. A context manager.

    Raises SessionNotFound, CorruptSession, SourceChanged, and SessionLocked while somebody writes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header: Header = read_header(path)
        self.base: Path = base_of(path, self.header)
        self.segments = open_segments(self.base)
        try:
            self.books: Books = books_of(self.segments)
            if self.header.split:
                split = read_split(path)
                split.check(path, self.base, self.books)
                self.spans: list[Span] = split.spans
            else:
                owner = writer_pid(path)
                if owner is not None:
                    raise SessionLocked(f"session {path.name} is being written by process {owner}: wait for its end")
                self.spans = [(0, self.books.state.events - 1)] if self.books.state.events else []
        except BaseException:
            self.close()
            raise

    def heads(self, spans: list[Span] | None = None) -> Iterator[tuple[int, int, MessageHeader[Any]]]:
        """Number, stored bytes and message header of the events, of all that count or of some spans. Raises CorruptSession."""
        return records(
            self.segments, self.spans if spans is None else spans,
            lambda number, record: (number, len(record), read_header_of(number, record, self.base)),
        )  # fmt: skip

    def copies(self, spans: list[Span]) -> Iterator[Copy]:
        """These events, each compared with its checksum. Raises CorruptEvent."""
        return records(self.segments, spans, self._copy)

    def table(self) -> Table:
        """A row for each event that counts."""
        table = Table()
        for number, size, header in self.heads():
            table.add(number, size, header)
        return table

    def close(self) -> None:
        """Let go of the files; more than once is fine."""
        close_segments(self.segments)
        self.segments = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _copy(self, number: int, record: memoryview) -> Copy:
        check_record(number, record, self.base)
        return Copy(number, read_header_of(number, record, self.base), bytes(record))
