"""Which episodes a run learned from and held out, from what it recorded.

A replay says in its marks which episodes of which session it played, so an episode is recognised in the session it came from too;
and steps of a split are steps of its session, in the session and in all its splits. Of a checkpoint that went on from another
run's, only the last run is known.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.books import Episode
from storage.errors import CorruptSession, SessionNotFound
from storage.header import read_header
from storage.reader import SessionReader
from worldmodel.batch import IntArray

BoolArray = NDArray[np.bool_]
Group = Literal["held-out episodes", "episodes learned from", "episodes learned from in part", "unseen episodes"]
Origin = tuple[str, int]
"""The session that holds the frames, never a split of it, and an episode's number there."""


class History(msgspec.Struct, frozen=True):
    """Which steps of which episodes a run learned from and held out."""

    learned: dict[Origin, list[range]] = {}
    held_out: dict[Origin, list[range]] = {}

    def group(self, origin: Origin, steps: range) -> Group:
        """Of an episode, or the part of it that a split holds."""
        learned = list(_shared(self.learned.get(origin, []), steps))
        if learned:
            return "episodes learned from" if steps in learned else "episodes learned from in part"
        return "held-out episodes" if any(_shared(self.held_out.get(origin, []), steps)) else "unseen episodes"

    def parts(self, origin: Origin, steps: IntArray) -> dict[Group, BoolArray]:
        """Of an episode learned from in part, the transitions from these steps to the next ones: which are in which group.

        Where a part of it was held out, those across the border are in none.
        """
        learned = _within(self.learned.get(origin, []), steps)
        held_out = _within(self.held_out.get(origin, []), steps) & ~learned
        rest = np.zeros_like(learned) if origin in self.held_out else ~learned
        return {"episodes learned from": learned, "held-out episodes": held_out, "episodes learned from in part": rest}


def _shared(known: Iterable[range], steps: range) -> Iterable[range]:
    """What each of the known has of these steps, where it has any."""
    both = (range(max(one.start, steps.start), min(one.stop, steps.stop)) for one in known)
    return (one for one in both if one)


def _within(known: Iterable[range], steps: IntArray) -> BoolArray:
    inside = np.zeros(len(steps), bool)
    for one in known:
        inside |= (one.start <= steps) & (steps + 1 < one.stop)
    return inside


def history_of(reader: SessionReader) -> History:
    """What the run that recorded this session learned from and held out, itself and where it came from."""
    learned: dict[Origin, list[range]] = {}
    held_out: dict[Origin, list[range]] = {}
    rows = {row.episode: row for row in reader.episodes()}
    for message in reader.topic_messages("episode"):
        body, number = message.body, message.envelope.episode
        if body.mark != "start" or number is None or number not in rows:
            continue
        group, steps = held_out if body.held_out else learned, steps_of(rows[number])
        group.setdefault((reader.path.name, number), []).append(steps)
        if body.origin_session and body.origin_episode is not None:  # a replay keeps the numbers of steps
            session = whole(reader.path.with_name(body.origin_session))
            group.setdefault((session, body.origin_episode), []).append(steps)
    return History(learned, held_out)


def steps_of(row: Episode) -> range:
    return range(0) if row.first_step is None or row.last_step is None else range(row.first_step, row.last_step + 1)


def whole(path: Path) -> str:
    """The name of the session at `path`; of a split that of the session that it is of."""
    try:
        return read_header(path).split or path.name
    except (SessionNotFound, CorruptSession):  # gone since
        return path.name
