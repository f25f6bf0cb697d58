"""Splits: lists of ranges over a session that stays as it is. They open like sessions, see `views.py`.

    with Source(root / "walk") as source:
        in_two(source, "walk", "episode", percent=70, guard=Guard(frames=10)).write()

A split lies beside its source, `<root>/<name>/session.json` and `split.json`, and holds no frames. While there
is one its source cannot be deleted. A split of a split is one of that split's source.
"""

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from protocol.messages import Message
from storage.books import Books
from storage.editing.edit import Made
from storage.editing.making import check_free, making
from storage.editing.parts import Part, Unit, pieces, stage_sizes, stages, train_and_validation, two_parts, units
from storage.editing.source import Source
from storage.editing.table import Table
from storage.editing.wanted import Guard, known_episodes
from storage.errors import EditRefused
from storage.header import Header, new_header, read_header, write_header
from storage.lock import SessionLock
from storage.paths import session_path
from storage.retention import delete_session
from storage.spans import Span
from storage.splitfile import Split, write_split

PERCENT = 70


class Planned(NamedTuple):
    """A split as it is to be made: which events of the source, by number, and the books over them."""

    name: str
    spans: list[Span]
    books: Books
    of: Made


class Division:
    """The splits that are to be made of one source: names, and the spans of its events. Raises SessionExists, BadName."""

    def __init__(self, source: Source, parts: list[tuple[str, list[Span]]]) -> None:
        self.source = source
        for name, _ in parts:
            check_free(session_path(source.base.parent, name))
        self.planned = [_plan(source, name, spans) for name, spans in parts]

    def preview(self) -> list[Made]:
        return [one.of for one in self.planned]

    def write(self) -> list[Made]:
        """Make all of them, or none. Raises SessionExists, SessionLocked."""
        root, made = self.source.base.parent, list[Path]()
        with SessionLock(self.source.base):  # nobody records into it, nobody deletes it
            base = read_header(self.source.base)
            try:
                for one in self.planned:
                    with making(root / one.name) as folder:
                        folder.mkdir()
                        write_split(folder, _split(base, self.source.books, one))
                        write_header(folder, _header(self.source, one))
                    made.append(root / one.name)
            except BaseException:
                for path in made:
                    delete_session(path)
                raise
        return self.preview()


def by_unit(source: Source, name: str, unit: Unit, every_s: float | None = None) -> Division:
    """A split for each episode, each run of the robot, or each stretch of `every_s` seconds."""
    table = _table(source)
    if unit == "time" and not every_s:
        raise EditRefused("--by time wants --every SECONDS, or --train PERCENT")
    return _divided(source, name, pieces(table.frames, unit, every_s), table)


def in_two(source: Source, name: str, unit: Unit, percent: int = PERCENT, guard: Guard = Guard()) -> Division:  # noqa: B008 - immutable
    """To train on and to validate on: whole units, the first `percent` of the frames and the rest."""
    table = _table(source)
    label = units(table.frames, unit)
    if not label.any():
        raise EditRefused(f"session {source.path.name} holds only one {unit}: nothing to divide; divide --by time, with a --guard")
    train, validation = two_parts(label, percent)
    return _divided(source, name, train_and_validation(table.frames, train, validation, guard), table)


def by_episodes(source: Source, name: str, validate: str, guard: Guard = Guard()) -> Division:  # noqa: B008 - immutable
    """The same, with these episodes, `3,5-7`, to validate on."""
    table = _table(source)
    chosen = np.isin(table.frames.episode, known_episodes(validate, table.frames.episode))
    return _divided(source, name, train_and_validation(table.frames, ~chosen, chosen, guard), table)


def in_stages(
    source: Source, name: str, first: int = 10, stage_count: int | None = None, percent: int = PERCENT, guard: Guard = Guard()  # noqa: B008
) -> Division:  # fmt: skip
    """Progressive stages, each to train on and to validate on."""
    table = _table(source)
    return _divided(source, name, stages(table.frames, stage_sizes(len(table.frames), first, stage_count), percent, guard), table)


def _divided(source: Source, name: str, parts: list[Part], table: Table) -> Division:
    """A split for each part of the frames."""
    named = [(f"{name}_{part.name}" + (f"_{part.frames.sum()}" if part.sized else ""), part) for part in parts]
    return Division(source, [(full, table.spans(table.events_of(part.frames))) for full, part in named])


def _plan(source: Source, name: str, spans: list[Span]) -> Planned:
    books = Books()
    for _, size, header in source.heads(spans):
        books.add(Message(envelope=header.envelope, body=header.body), size)
    books.settle([source.books])
    for key, stream in books.streams.items():
        stream.id = source.books.streams[key].id
    made = Made(
        name=name, derived_from=[source.path.name], events=books.state.events,
        frames=sum(row.frames for row in books.episodes.values()), episodes=len(books.episodes), bytes=books.state.bytes,
    )  # fmt: skip
    return Planned(name, spans, books, made)


def _split(base: Header, books: Books, planned: Planned) -> Split:
    own = planned.books
    return Split(
        created=base.created, events=books.state.events, bytes=books.state.bytes, spans=planned.spans,
        state=own.state, streams=list(own.streams.values()), episodes=list(own.episodes.values()),
    )  # fmt: skip


def _header(source: Source, planned: Planned) -> Header:
    of = source.header
    header = new_header(planned.name, "raw", of.sync_interval_s, {"kind": "split", "of": source.base.name})
    return msgspec.structs.replace(
        header, robot=of.robot, codecs=of.codecs, tags=of.tags, derived_from=[source.path.name], split=source.base.name
    )


def _table(source: Source) -> Table:
    table = source.table()
    if not len(table.frames):
        raise EditRefused(f"session {source.path.name} holds no frames: nothing to split")
    return table
