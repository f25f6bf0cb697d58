"""One row for each event of a session, without its arrays: what edits and splits decide by.

Every event belongs to a frame: to the one of its own episode and step where there is one, else to the
newest one before it. So a part of the frames says which part of the session is meant. What the robot says
of itself once, and its probe, belong to all.
"""

from array import array
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.clock import NS_PER_S
from protocol.codec import Header
from protocol.messages import EpisodeMark
from storage.index import MAX_INDEXED
from storage.spans import Span, spans_of

Numbers = NDArray[np.int64]
Mask = NDArray[np.bool_]

NONE = -1
ALL = -1
"""In place of a frame: the event belongs to all of them."""
_FOR_ALL = ("robot", "probe")


class Table:
    """The rows, a numpy column each; made with `add`, event by event, then read."""

    def __init__(self) -> None:
        self._columns = {name: array("q") for name in ("number", "size", "kind", "stream", "seq", "mono_ns", "episode", "step", "mark")}
        self._kinds: dict[str, int] = {}
        self._marks: dict[str, int] = {}
        self.streams: dict[tuple[str, str], int] = {}

    def add(self, number: int, size: int, header: Header[Any]) -> None:
        """The next event; `size` are the bytes of its record."""
        envelope, body = header.envelope, header.body
        kind = envelope.topic.partition("/")[0]
        values = (
            number, size, self._kinds.setdefault(kind, len(self._kinds)),
            self.streams.setdefault((envelope.topic, envelope.run), len(self.streams)), envelope.seq, _known(envelope.mono_ns),
            _known(envelope.episode), _known(envelope.step),
            self._marks.setdefault(body.mark, len(self._marks)) if isinstance(body, EpisodeMark) else NONE,
        )  # fmt: skip
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)

    def column(self, name: str) -> Numbers:
        """`number`, `size`, `stream`, `seq`, `mono_ns`, `episode` or `step` of every event; NONE where it has none."""
        return np.frombuffer(self._columns[name], np.int64) if self._columns[name] else np.empty(0, np.int64)

    def of_kind(self, *kinds: str) -> Mask:
        """Which events are of these topic kinds."""
        return np.isin(self.column("kind"), [self._kinds.get(kind, NONE) for kind in kinds])

    def of_stream(self, stream: tuple[str, str]) -> Mask:
        """Which events are of this topic and run."""
        return np.equal(self.column("stream"), self.streams[stream])

    def marked(self, *marks: str) -> Mask:
        """Which events are these marks."""
        return np.isin(self.column("mark"), [self._marks[mark] for mark in marks if mark in self._marks])

    @cached_property
    def frames(self) -> "Frames":
        """The frames among the events, in order."""
        rows = np.flatnonzero(self.of_kind("frame"))
        return Frames(
            rows=rows, episode=self.column("episode")[rows], step=self.column("step")[rows],
            run=self.column("stream")[rows], seconds=_seconds(self.column("stream")[rows], self.column("mono_ns")[rows]),
        )  # fmt: skip

    @cached_property
    def frame_of(self) -> Numbers:
        """The frame, by its place among the frames, that each event belongs to; ALL where it belongs to all, or there is no frame."""
        frames, episode, step = self.frames, self.column("episode"), self.column("step")
        if not frames.rows.size or not episode.size:
            return np.full(episode.size, ALL)
        rows = np.arange(episode.size)
        owner = np.maximum(np.searchsorted(frames.rows, rows, side="right") - 1, 0)
        # of an episode, but after frames of another one: that episode's first or last frame is nearer
        known, first = np.unique(frames.episode, return_index=True)
        last = frames.episode.size - 1 - np.unique(frames.episode[::-1], return_index=True)[1]
        at = np.minimum(np.searchsorted(known, episode), known.size - 1)
        strange = (episode != NONE) & (known[at] == episode) & (frames.episode[owner] != episode)
        owner = np.where(strange, np.where(rows < frames.rows[first[at]], first[at], last[at]), owner)
        # of a step: its frame
        key = _pairs(episode, step)
        keys = key[frames.rows]
        order = np.argsort(keys, kind="stable")
        found = np.minimum(np.searchsorted(keys[order], key), order.size - 1)
        stepped = (episode != NONE) & (step != NONE) & (keys[order][found] == key)
        owner = np.where(stepped, order[found], owner)
        owner[frames.rows] = np.arange(frames.rows.size)
        owner[self.of_kind(*_FOR_ALL)] = ALL
        return owner

    @cached_property
    def episode_of(self) -> Numbers:
        """The episode of each event: its own, else that of its frame; NONE for what belongs to all."""
        own = self.column("episode")
        if not self.frames.rows.size:
            return own
        by_frame = np.where(self.frame_of == ALL, NONE, self.frames.episode[self.frame_of])
        return np.where(own != NONE, own, by_frame)

    def events_of(self, frames: Mask) -> Mask:
        """Which events belong to these frames, or to all."""
        of_all: Mask = self.frame_of == ALL
        return of_all | frames[self.frame_of] if frames.size else of_all

    def spans(self, events: Mask) -> list[Span]:
        """The numbers of some of the events."""
        return spans_of(self.column("number")[events])


class Frames:
    """The frames of a table: their rows in it, episodes, steps, runs, and seconds since the first by their sources' clocks."""

    def __init__(self, *, rows: Numbers, episode: Numbers, step: Numbers, run: Numbers, seconds: NDArray[np.float64]) -> None:
        self.rows, self.episode, self.step, self.run, self.seconds = rows, episode, step, run, seconds

    def __len__(self) -> int:
        return int(self.rows.size)


def _known(value: int | None) -> int:
    return NONE if value is None or not 0 <= value < MAX_INDEXED else value


def _pairs(episode: Numbers, step: Numbers) -> Numbers:
    """One number for each pair, the same for the same pair."""
    steps, at = np.unique(step, return_inverse=True)
    return np.asarray(np.unique(episode, return_inverse=True)[1] * steps.size + at, np.int64)


def _seconds(run: Numbers, mono_ns: Numbers) -> NDArray[np.float64]:
    """Seconds since the first frame; a run begins where all before it ended, whatever time passed between them."""
    out = np.zeros(run.size)
    runs, firsts = np.unique(run, return_index=True)
    for one in runs[np.argsort(firsts)]:
        mine = np.flatnonzero(run == one)
        out[mine] = (mono_ns[mine] - mono_ns[mine[0]]) / NS_PER_S + out[: mine[0]].max(initial=0.0)
    return out
