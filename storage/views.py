"""Opens what has a name, a session or a split of one, to be read the same way.

with open_session(root / "walk_train_942") as reader:
    for message in reader.events(kinds=["frame", "action"]):
        ...
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from storage.books import Books
from storage.errors import EventNotFound
from storage.header import read_header
from storage.places import Places
from storage.reader import SessionReader
from storage.record import Event
from storage.spans import Numbering
from storage.splitfile import base_of, read_split


def open_session(path: Path) -> SessionReader:
    """A reader of the session or split at `path`. Raises SessionNotFound, CorruptSession, SourceChanged."""
    return SplitReader(path) if read_header(Path(path)).split else SessionReader(path)


class SplitReader(SessionReader):
    """Reads the events of a split from its source's log; they are numbered from 0 here.

    Raises SourceChanged when the source is not what it was when the split was made.
    """

    def __init__(self, path: Path) -> None:
        path = Path(path)
        header = read_header(path)
        base = base_of(path, header)
        super().__init__(base)
        self.base = base
        try:
            self._split = read_split(path)
            self._split.check(path, base, super().books())
        except BaseException:
            self.close()
            raise
        self.path, self.header = path, header
        self.numbering = Numbering(self._split.spans)
        """From the numbers here to those in the source."""

    def books(self) -> Books:
        """As they were when the split was made: they cover it, and neither changes."""
        return self._split.books()

    def __len__(self) -> int:
        return len(self.numbering)

    def event(self, number: int) -> Event:
        try:
            return msgspec.structs.replace(self._logged(self.numbering.number_at(number)), number=number)
        except IndexError:
            raise EventNotFound(f"split {self.path.name} has no event {number}; it has {len(self)}") from None

    def numbered(self, start: int = 0, kinds: Iterable[str] | None = None) -> Iterator[Event]:
        wanted = None if kinds is None else list(kinds)
        for first, last in self.numbering.spans_from(start):
            for event in self._between(first, last, wanted):
                yield msgspec.structs.replace(event, number=self.numbering.place_of(event.number))

    def numbers(self, start: int = 0, kinds: Iterable[str] | None = None) -> Iterator[int]:
        wanted = None if kinds is None else list(kinds)
        for first, last in self.numbering.spans_from(start):
            for number in self._numbers_between(first, last, wanted):
                yield self.numbering.place_of(number)

    def frame_at(self, t_ns: int) -> int | None:
        found = super().frame_at(t_ns)
        return None if found is None else self.numbering.place_of(found)

    def places(self, kind: str) -> Places:
        every = super().places(kind)
        here = np.array([number in self.numbering for number in every.event.tolist()], bool)
        return Places(*(getattr(every, name)[here] for name in Places.__struct_fields__))

    def frame_from(self, episode: int, step: int = 0) -> int | None:
        found = super().frame_from(episode, step)
        return None if found is None else self.numbering.place_of(found)

    def event_at(self, t_ns: int) -> int | None:
        found = super().event_at(t_ns)
        return None if found is None else self.numbering.place_of(found)

    def _holds(self, number: int) -> bool:
        return number in self.numbering
