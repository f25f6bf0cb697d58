"""`split.json`: which events of the session beside it a split holds, and the books over them."""

import os
from pathlib import Path

import msgspec

from storage.books import Books, Episode, State, Stream
from storage.errors import CorruptSession, SessionNotFound, SourceChanged
from storage.header import Header, read_header
from storage.paths import HEADER_FILE, session_names
from storage.spans import Span

SPLIT_FILE = "split.json"


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content. `created`, `events` and `bytes` are the source's when the split was made.

    Streams keep the numbers that they have in the source.
    """

    created: str
    events: int
    bytes: int
    spans: list[Span]
    state: State
    streams: list[Stream]
    episodes: list[Episode]

    def books(self) -> Books:
        books = Books()
        books.state = self.state
        books.streams = {(stream.topic, stream.run): stream for stream in self.streams}
        books.episodes = {row.episode: row for row in self.episodes}
        return books

    def check(self, path: Path, base: Path, books: Books) -> None:
        """Raise SourceChanged unless the session at `base`, with these books, is what the split at `path` was made of."""
        now = books.state.events, books.state.bytes
        if read_header(base).created != self.created:
            how = "is another one of the same name"
        elif now != (self.events, self.bytes):
            how = f"has {now[0]} events, not {self.events} as then"
        else:
            return
        raise SourceChanged(f"split {path.name} does not fit any more: its source {base.name} {how}; delete the split and make it again")


def base_of(path: Path, header: Header) -> Path:
    """Where the events of the session at `path` are: there, or in the source of a split. Raises SourceChanged."""
    base = path.parent / header.split if header.split else path
    if not (base / HEADER_FILE).is_file():
        raise SourceChanged(f"split {path.name} is of session {base.name}, gone from {path.parent}: put it back or delete the split")
    return base


def read_split(path: Path) -> Split:
    """The split at `path`. Raises CorruptSession."""
    file = path / SPLIT_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Split)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptSession(f"{file} cannot be read: {error}; delete the split and make it again") from None


def write_split(path: Path, split: Split) -> None:
    """Into the folder of a split that is being made."""
    with (path / SPLIT_FILE).open("wb") as file:
        file.write(msgspec.json.encode(split))
        file.flush()
        os.fsync(file.fileno())


def splits_of(path: Path) -> list[str]:
    """The names of the splits of the session at `path`."""
    found = []
    for name in session_names(path.parent):
        try:
            if read_header(path.with_name(name)).split == path.name:
                found.append(name)
        except (SessionNotFound, CorruptSession):  # damaged, or gone since
            continue
    return found
