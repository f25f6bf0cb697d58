"""Is a split what it was made to be? Its source is as it was, its events are sound, its books count them."""

from pathlib import Path
from typing import NamedTuple

from protocol.messages import Gap, Message
from storage.arrays import ArrayCodec
from storage.books import Books
from storage.editing.source import Source
from storage.errors import CorruptEvent, StorageError
from storage.load import records
from storage.record import decode_record
from storage.splitfile import read_split


class Findings(NamedTuple):
    """How many events were looked at, what is wrong, and what was missing when the source was recorded."""

    events: int
    problems: list[str]
    gaps: list[Gap]


def check_split(path: Path) -> Findings:
    """Read all that the split at `path` holds of its source."""
    problems: list[str] = []
    again, events, gaps = Books(), 0, list[Gap]()
    try:
        with Source(path) as source:
            codec, told = ArrayCodec(source.header.codecs), read_split(path).books()

            def look(number: int, record: memoryview) -> tuple[Message, int] | CorruptEvent:
                try:
                    return decode_record(number, record, codec, source.base).message, len(record)
                except CorruptEvent as error:
                    return error

            gaps = told.gaps()
            for found in records(source.segments, source.spans, look):
                events += 1
                if isinstance(found, CorruptEvent):
                    problems.append(str(found))
                else:
                    again.add(*found)
            if not problems:
                again.settle([source.books])
                problems += _differences(path, told, again)
    except StorageError as error:
        problems.append(str(error))
    return Findings(events, problems, gaps)


def _differences(path: Path, books: Books, again: Books) -> list[str]:
    """Where the books that were written are not those that its events make."""
    for key, stream in again.streams.items():
        if key in books.streams:  # streams keep the source's numbers
            stream.id = books.streams[key].id
    pairs = (("totals", books.state, again.state), ("episodes", books.episodes, again.episodes), ("streams", books.streams, again.streams))
    return [
        f"the books of split {path.name} are not those of its events: the {what} differ; make it again" for what, a, b in pairs if a != b
    ]
