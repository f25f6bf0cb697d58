"""What is wrong with the rows of an episode; without files, so that it can be told of any."""

from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np

from protocol.clock import NS_PER_S
from storage.exchange.common import MOST
from storage.exchange.lerobot.layout import Column, EpisodeRow, Layout
from storage.exchange.lerobot.rows import Chunk

GAP_PERIODS, GAP_S = 5.0, 1.0
"""Time stamps further apart than both are no neighbours."""
STAMP_S = 1e-4
"""lerobot's own tolerance: time stamps this near to frame_index / fps were made of it."""


class Fault(msgspec.Struct, frozen=True):
    """Something wrong at row `place` of a chunk: it cannot be taken, others before it are missing, or it is taken though it is strange."""

    place: int
    why: str
    kind: Literal["bad", "missing", "strange"] = "bad"


class EpisodeJudge:
    """Looks at the rows of one episode, chunk by chunk."""

    def __init__(self, layout: Layout, episode: EpisodeRow) -> None:
        self._episode = episode
        self._fps = layout.fps
        self._tasks = layout.tasks
        self._needed = [column for column in (layout.action, layout.state) if column]
        self._frame = -1
        self._stamp: float | None = None
        self._told: set[str] = set()

    def faults(self, chunk: Chunk) -> list[Fault]:
        """Everything wrong with the next rows, in order."""
        found = [Fault(place, why) for place, why in chunk.bad.items()]
        for column in self._needed:
            found += _not_finite(chunk, column)
        known = {fault.place for fault in found}
        found += [fault for fault in self._order(chunk) if fault.place not in known]
        return sorted(found, key=lambda fault: fault.place)

    def missing(self) -> str:
        """What is missing at the end of the episode; "" when it is whole."""
        there = self._frame + 1
        return f"the metadata give it {self._episode.length} frames, there are rows of {there}" if there < self._episode.length else ""

    def _order(self, chunk: Chunk) -> Iterator[Fault]:
        for place, (frame, stamp) in enumerate(zip(chunk.frame_index.tolist(), chunk.timestamp.tolist(), strict=True)):
            if not 0 <= frame < self._episode.length:
                yield Fault(place, f"frame_index {frame} is none of the {self._episode.length} frames of episode {self._episode.number}")
                continue
            if frame <= self._frame:
                yield Fault(place, f"frame_index goes from {self._frame} to {frame}")
                continue
            steps = frame - self._frame
            if steps > 1:
                rows = "1 row is" if steps == 2 else f"{steps - 1} rows are"
                yield Fault(place, f"{rows} missing before frame {frame} of episode {self._episode.number}", "missing")
            time = self._time(stamp, steps)
            self._frame, self._stamp = frame, stamp if abs(stamp) < MOST / NS_PER_S else self._stamp
            if time:
                yield Fault(place, time)
            yield from self._numbering(chunk, place, frame)

    def _time(self, stamp: float, steps: int) -> str:
        if not abs(stamp) < MOST / NS_PER_S:
            return f"timestamp is {stamp}"
        if self._stamp is None:
            return ""
        gone = stamp - self._stamp
        if gone <= 0:
            return f"timestamp {stamp:g} s stands after {self._stamp:g} s"
        usual = steps / self._fps
        return f"timestamp jumps by {gone:g} s, {usual:.3g} s are usual" if gone > max(GAP_S, GAP_PERIODS * usual) else ""

    def _numbering(self, chunk: Chunk, place: int, frame: int) -> Iterator[Fault]:
        """What contradicts itself, told once in an episode."""
        task, index = int(chunk.task_index[place]), int(chunk.index[place])
        if task not in self._tasks and "task" not in self._told:
            self._told.add("task")
            yield Fault(place, f"task_index is {task}, and meta/tasks.parquet has no such task", "strange")
        if index != self._episode.first_index + frame and "index" not in self._told:
            self._told.add("index")
            expected = self._episode.first_index + frame
            yield Fault(place, f"index is {index}, by the metadata of episode {self._episode.number} it is {expected}", "strange")


def _not_finite(chunk: Chunk, column: Column) -> Iterator[Fault]:
    values = chunk.numbers[column.key]
    if np.issubdtype(values.dtype, np.floating):
        for place in np.flatnonzero(~np.isfinite(values).all(axis=1)).tolist():
            if place not in chunk.bad:
                number = int(np.flatnonzero(~np.isfinite(values[place]))[0])
                yield Fault(place, f"{column.key} is {values[place, number]} ({column.names[number]})")


def synthetic(chunk: Chunk, fps: float) -> bool:
    """Whether every time stamp is frame_index / fps, to float32's precision: lerobot made it, no clock did."""
    made = chunk.frame_index / fps
    off = np.abs(chunk.timestamp - made)
    return bool(np.all(~np.isfinite(off) | (off <= np.maximum(STAMP_S, made * 2e-7))))
