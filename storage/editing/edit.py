"""New sessions made of others: trimmed, merged, without some episodes, with other marks. The others stay as they are.

    with Source(root / "walk") as source:
        edit = trim(source, start="5", until="3:40")
        print(edit.preview("short"))
        edit.write(root / "short")

Records are copied as they are stored: topics, runs, sequence numbers, times and arrays stay, event numbers
are new. Numbers that the edit leaves out are told as `cut` in the books, not as lost.
"""

import uuid
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from protocol.codec import Header as MessageHeader
from protocol.messages import Envelope, EpisodeMark, MarkName, Message, Robot
from storage.arrays import ArrayCodec
from storage.editing.making import check_free, making
from storage.editing.source import Source
from storage.editing.table import ALL, NONE, Mask, Table
from storage.editing.wanted import before, known_episodes
from storage.errors import DiskFull, EditRefused
from storage.header import change_header
from storage.load import records
from storage.paths import free_bytes
from storage.record import copied_bytes, encode_record, read_header_of
from storage.spans import Span
from storage.writer import SessionWriter

JUDGEMENTS: tuple[MarkName, ...] = ("success", "failure", "discard")
EDITOR = "edit"
"""The source of the messages that an edit adds."""
_COMMIT_EVENTS = 5000


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it was made, or would be; `bytes` are those of its records."""

    name: str
    derived_from: list[str]
    events: int
    frames: int
    episodes: int
    bytes: int
    left_out_events: int = 0
    left_out_frames: int = 0


class Piece(NamedTuple):
    """Part of a source: which of its events, and what is added to their episode numbers."""

    source: Source
    table: Table
    events: Mask
    shift: int = 0

    def spans(self) -> list[Span]:
        return self.table.spans(self.events)

    def episodes(self) -> set[int]:
        """Numbers as they will be, of the episodes that something with a frame, an action or a mark is kept of."""
        own = self.table.column("episode")[self.events & self.table.of_kind("frame", "action", "episode")]
        return {number + self.shift for number in np.unique(own[own != NONE]).tolist()}


class Added(NamedTuple):
    """A message that stands behind event `after` of the one source."""

    after: int
    message: Message


class Edit:
    """What is to be made of which pieces, in order."""

    def __init__(self, pieces: list[Piece], added: list[Added] | None = None) -> None:
        if not any(piece.events.any() for piece in pieces):
            raise EditRefused("nothing would be left: choose another part")
        self.pieces = pieces
        self._added = {one.after: one.message for one in added or []}

    def preview(self, name: str) -> Made:
        """What `write` would make, to the byte."""
        codec = ArrayCodec(self.pieces[0].source.header.codecs)
        size = sum(len(encode_record(0, message, codec)) for message in self._added.values())
        return self._made(name, size + sum(map(self._bytes, self.pieces)))

    def write(self, target: Path) -> Made:
        """Make the session at `target`. Raises SessionExists, DiskFull, CorruptEvent; nothing is left at `target` then."""
        check_free(target)
        first = self.pieces[0].source.header
        needed = sum(int(piece.table.column("size")[piece.events].sum()) for piece in self.pieces)
        if free_bytes(target) < needed:
            raise DiskFull(
                f"{target} would need {needed} bytes, {free_bytes(target)} are free there: delete sessions or choose another root"
            )
        with (
            making(target) as folder,
            SessionWriter.create(
                folder, name=target.name, robot=first.robot, sync_interval_s=first.sync_interval_s, commit_events=_COMMIT_EVENTS
            ) as writer,
        ):
            change_header(folder, codecs=first.codecs, **self._about())
            for piece in self.pieces:
                self._copy(piece, writer)
            writer.settle([piece.source.books for piece in self.pieces])
            done = writer.flush()
        return self._made(target.name, done.bytes)

    def _copy(self, piece: Piece, writer: SessionWriter) -> None:
        for number, header, record in piece.source.copies(piece.spans()):
            writer.append_copy(_shifted(header, piece.shift), record, change=piece.shift != 0)
            if number in self._added:
                writer.append(self._added[number])

    def _bytes(self, piece: Piece) -> int:
        if not piece.shift:
            return int(piece.table.column("size")[piece.events].sum())
        source = piece.source

        def size(number: int, record: memoryview) -> int:
            return copied_bytes(record, _shifted(read_header_of(number, record, source.base), piece.shift))

        return sum(records(source.segments, piece.spans(), size))

    def _about(self) -> dict[str, Any]:
        """What the new session's header takes over."""
        headers = [piece.source.header for piece in self.pieces]
        return {
            "derived_from": self._derived_from(), "tags": list(dict.fromkeys(tag for header in headers for tag in header.tags)),
            "source": headers[0].source if len(headers) == 1 else {},
            "notes": "\n".join(header.notes for header in headers if header.notes),
        }  # fmt: skip

    def _derived_from(self) -> list[str]:
        return list(dict.fromkeys(piece.source.path.name for piece in self.pieces))

    def _made(self, name: str, size: int) -> Made:
        events = sum(int(piece.events.sum()) for piece in self.pieces)
        frames = sum(int((piece.events & piece.table.of_kind("frame")).sum()) for piece in self.pieces)
        return Made(
            name=name, derived_from=self._derived_from(), events=events + len(self._added), frames=frames,
            episodes=len(set[int]().union(*(piece.episodes() for piece in self.pieces))), bytes=size,
            left_out_events=sum(int((~piece.events).sum()) for piece in self.pieces),
            left_out_frames=sum(len(piece.table.frames) for piece in self.pieces) - frames,
        )  # fmt: skip


def trim(source: Source, start: str | None = None, until: str | None = None) -> Edit:
    """The part from one place to before another, as `wanted.before` reads them. Raises EditRefused."""
    table = source.table()
    frames = table.frames
    if not len(frames):
        raise EditRefused(f"session {source.path.name} holds no frames: nothing to trim")
    kept = np.ones(len(frames), np.bool_)
    if until is not None:
        kept &= before(frames, until)
    if start is not None:
        kept &= ~before(frames, start)
    if not kept.any():
        raise EditRefused(
            f"there is no frame from {start or 'the start'} until {until or 'the end'}: the last is at {frames.seconds.max():.1f} s"
        )
    return Edit([Piece(source, table, table.events_of(kept))])


def drop(source: Source, episodes: str | None = None, marked: MarkName | None = None) -> Edit:
    """Without these episodes, `3,5-7`, and without those that hold a mark. Raises EditRefused."""
    table = source.table()
    gone = set(known_episodes(episodes, table.episode_of)) if episodes else set()
    if marked is not None:
        found = set(table.column("episode")[table.marked(marked)].tolist()) - {NONE}
        if not found:
            raise EditRefused(f"session {source.path.name} has no episode marked {marked}")
        gone |= found
    return Edit([Piece(source, table, ~np.isin(table.episode_of, sorted(gone)))])


def merge(sources: list[Source]) -> Edit:
    """All of several sessions, one after the other; episodes of later ones are numbered on. Raises EditRefused."""
    first, taken = sources[0], -1
    pieces: list[Piece] = []
    for source in sources:
        _check_same_robot(first, source)
        table = source.table()
        own = table.column("episode")
        own = own[own != NONE]
        shift = max(0, taken + 1 - int(own.min(initial=taken + 1)))
        taken = max(taken, int(own.max(initial=-1)) + shift)
        events = np.ones(table.column("number").size, np.bool_)
        for piece in pieces:
            events &= ~_held_by_both(piece, source, table)
        pieces.append(Piece(source, table, events, shift))
    return Edit(pieces)


def mark(source: Source, judgement: MarkName, episodes: str, *, relabel: bool = False, reason: str = "") -> Edit:
    """With a mark more at the end of these episodes; `relabel` leaves out their other judgements. Raises EditRefused."""
    if judgement not in JUDGEMENTS:
        raise EditRefused(f"an episode is marked {', '.join(JUDGEMENTS)}, not {judgement}")
    table = source.table()
    own, number = table.column("episode"), table.column("number")
    wanted = known_episodes(episodes, own)
    events = np.ones(own.size, np.bool_)
    if relabel:
        events &= ~(table.marked(*JUDGEMENTS) & np.isin(own, wanted))
    run = uuid.uuid4().hex[:12]
    added = []
    for seq, episode in enumerate(wanted):
        rows = np.flatnonzero((own == episode) & events)
        steps = np.flatnonzero((own == episode) & events & (table.of_kind("frame", "action") | table.marked(*JUDGEMENTS)))
        if not rows.size:
            raise EditRefused(f"nothing would be left of episode {episode} but the mark")
        at = int(number[(steps if steps.size else rows)[-1]])
        envelope = next(source.heads([(at, at)]))[2].envelope
        body = EpisodeMark(mark=judgement, reason=reason)
        # of that moment by both clocks: when it was added stands in the header of the session
        topic = f"episode/{envelope.topic.partition('/')[2]}"
        marked = Envelope(
            topic=topic, source=EDITOR, run=run, seq=seq, t_ns=envelope.t_ns, mono_ns=envelope.t_ns, episode=episode, step=envelope.step
        )
        added.append(Added(at, Message(envelope=marked, body=body)))
    return Edit([Piece(source, table, events)], added)


def _shifted(header: MessageHeader[Any], shift: int) -> MessageHeader[Any]:
    if not shift or header.envelope.episode is None:
        return header
    envelope = msgspec.structs.replace(header.envelope, episode=header.envelope.episode + shift)
    return msgspec.structs.replace(header, envelope=envelope)


def _check_same_robot(first: Source, other: Source) -> None:
    """Sessions whose frames or actions differ make no session together."""
    one, two = first.header.robot, other.header.robot
    names = ("cameras", "actions", "state_names", "rate_hz")
    differing = [name for name in names if isinstance(one, Robot) and isinstance(two, Robot) and getattr(one, name) != getattr(two, name)]
    if differing or (one is None) != (two is None):
        what = ", ".join(differing) or "robot"
        raise EditRefused(f"{first.path.name} and {other.path.name} cannot be merged: their {what} differ")


def _held_by_both(piece: Piece, source: Source, table: Table) -> Mask:
    """Which events of `source` the piece has too: what belongs to all of a recording. Raises EditRefused when it is anything else."""
    both = np.zeros(table.column("number").size, np.bool_)
    for key in piece.table.streams.keys() & table.streams.keys():
        theirs = piece.table.column("seq")[piece.table.of_stream(key)]
        both |= table.of_stream(key) & np.isin(table.column("seq"), theirs)
    more = np.flatnonzero(both & (table.frame_of != ALL))
    if more.size:
        raise EditRefused(f"{piece.source.path.name} and {source.path.name} cannot be merged: both hold {more.size} of the same messages")
    return both
