"""Recorded sessions to learn from: what of them is learned and what is held out, as sources of windows.

    learned, held_out = divided(readers, context=2, horizon=1, held_out="last")
    with Feeder(learner, learned) as feeder:
        learner.step(feeder.next())

What fits into memory is decoded once. Of the rest, threads read ahead while the model computes.
"""

import re
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import msgspec
import numpy as np

from storage.header import read_header
from storage.loading.frames import Frames
from storage.loading.windows import Windows
from storage.reader import SessionReader
from worldmodel.batch import Batch, IntArray
from worldmodel.learner import Learner

MEMORY_MB = 1024
AHEAD = 3
"""Batches that are read while one is learned from."""
THREADS = 2
Spans = dict[str, dict[int, list[tuple[int, int]]]]
"""Session, episode, and of its steps each first one and the one behind the last."""


class Recorded:
    """Some of the windows of sessions, as a `Source`. An id is the index of a window among all of them."""

    def __init__(self, windows: Windows, ids: IntArray, horizon: int, memory: dict[str, np.ndarray] | None) -> None:
        self.context = windows.context
        self.horizon = horizon
        self._windows = windows
        self._ids = {1: ids, horizon: ids[windows.lasting(horizon)[ids]] if horizon > 1 else ids}
        self._memory = memory

    def __len__(self) -> int:
        return len(self._ids[1])

    @property
    def in_memory(self) -> bool:
        return self._memory is not None

    def ids(self, horizon: int = 1) -> IntArray:
        """See `Source`; of no other horizon than 1 and the one it was made with."""
        return self._ids[horizon]

    def windows(self, ids: IntArray, horizon: int = 1) -> Batch:
        """See `Source`; the arrays are new. May be called by several threads."""
        shown, actions = self._windows.of(np.asarray(ids), horizon)
        if self._memory is not None:
            return Batch({name: pictures[shown] for name, pictures in self._memory.items()}, actions, np.asarray(ids))
        frames = self._windows.frames.empty(*shown.shape)
        self._windows.frames.read(shown, frames)
        return Batch(frames, actions, np.asarray(ids))

    def some(self, count: int, seed: int) -> Batch:
        """A fixed uniform sample of at most so many windows of horizon 1, in order."""
        ids = self._ids[1]
        picks = np.random.default_rng([seed, 5]).choice(ids, min(count, len(ids)), replace=False)
        return self.windows(np.sort(picks))

    def spans(self) -> Spans:
        """Which steps the windows begin with and end with, by the whole session's name."""
        frames = self._windows.frames
        found: Spans = {}
        newest = self._windows.frame[self._ids[1]]
        for session, reader in enumerate(frames.sessions):
            mine = newest[frames.session[newest] == session]
            # steps of a split are steps of its session
            episodes = found.setdefault(read_header(reader.path).split or reader.path.name, {}) if len(mine) else {}
            for episode in np.unique(frames.episode[mine]).tolist():
                steps = np.sort(frames.step[mine[frames.episode[mine] == episode]])
                breaks = np.flatnonzero(np.diff(steps) > 1)
                starts, ends = steps[np.append(0, breaks + 1)], steps[np.append(breaks, len(steps) - 1)]
                episodes.setdefault(int(episode), []).extend((int(a), int(b) + 2) for a, b in zip(starts, ends, strict=True))
        return found


class HeldOut(msgspec.Struct, frozen=True):
    """What is held out beside the episodes that were recorded as such: `last` episode of each session, `episodes` by number,
    the last `share` of each session, everything `behind` a step, or whole `sessions`."""

    last: bool = False
    episodes: frozenset[int] = frozenset()
    share: float = 0.0
    behind: int | None = None
    sessions: frozenset[str] = frozenset()


def held_out_of(texts: Sequence[str], sessions: Sequence[str]) -> HeldOut:
    """From words: `last`, `3,5-7`, `20%`, `from=666`, or a session's name. ValueError in one line."""
    given: dict[str, Any] = {"episodes": set(), "sessions": set()}
    for text in texts:
        if text in sessions:
            given["sessions"].add(text)
        elif text == "last":
            given["last"] = True
        elif (found := re.fullmatch(r"(\d+(?:\.\d+)?)%", text)) and 0 < float(found[1]) < 100:
            given["share"] = float(found[1]) / 100
        elif found := re.fullmatch(r"from=(\d+)", text):
            given["behind"] = int(found[1])
        elif re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", text):
            for part in text.split(","):
                first, _, last = part.partition("-")
                given["episodes"].update(range(int(first), int(last or first) + 1))
        else:
            raise ValueError(f"held out {text!r}: give last, episodes as in 3,5-7, a share as in 20%, from=STEP, or one of the sessions")
    return HeldOut(**{**given, "episodes": frozenset(given["episodes"]), "sessions": frozenset(given["sessions"])})


def divided(
    readers: Sequence[SessionReader], cameras: Sequence[str], context: int, horizon: int, held_out: HeldOut, memory_mb: int = MEMORY_MB
) -> tuple[Recorded, Recorded]:
    """(learned from, held out); no window of one shows a frame that one of the other predicts.

    Raises StorageError; ValueError when what is to be held out is not there.
    """
    frames = Frames(readers, cameras)
    windows = Windows(frames, context)
    newest = windows.frame
    whole = np.isin(frames.session, [n for n, reader in enumerate(readers) if reader.path.name in held_out.sessions])
    out = whole[newest] | np.isin(frames.episode[newest], list(held_out.episodes))
    if held_out.last:
        for session in range(len(readers)):
            mine = newest[frames.session[newest] == session]
            if len(mine):
                out |= (frames.session[newest] == session) & (frames.episode[newest] == frames.episode[mine].max())
    learned = ~(out | windows.held_out)
    cut = _cuts(frames, held_out)
    if cut is not None:
        behind = newest - (context - 1) >= cut[newest]
        learned &= newest + horizon < cut[newest]
        out |= behind
    if held_out != HeldOut() and len(newest) and not out.any():
        raise ValueError("what was asked for holds nothing out: these sessions have no such episodes or steps")
    out |= windows.held_out
    pictures = None
    if sum(int(np.prod(shape)) for shape in frames.shapes.values()) * len(frames) <= memory_mb << 20:
        pictures = frames.empty(len(frames))
        for start in range(0, len(frames), 256):
            picks = np.arange(start, min(start + 256, len(frames)))
            frames.read(picks, {name: array[start : start + 256] for name, array in pictures.items()})
    parts = (Recorded(windows, np.flatnonzero(mask), horizon, pictures) for mask in (learned, out))
    first, second = parts
    return first, second


def _cuts(frames: Frames, held_out: HeldOut) -> np.ndarray | None:
    """Of each frame, the first frame of its session that is held out by a share or by a step; None when nothing is."""
    if not held_out.share and held_out.behind is None:
        return None
    cuts = np.full(len(frames), len(frames) + 1)
    for session in np.unique(frames.session).tolist():
        mine = np.flatnonzero(frames.session == session)
        first = mine[0] + round(len(mine) * (1 - held_out.share)) if held_out.share else len(frames) + 1
        if held_out.behind is not None and (late := mine[frames.step[mine] >= held_out.behind]).size:
            first = min(first, late[0])
        cuts[mine] = first
    return cuts


class Feeder:
    """Batches as a learner samples them. What is not in memory is read ahead; what is drawn by then is saved with the learner."""

    def __init__(self, learner: Learner, source: Recorded) -> None:
        self._learner, self._source = learner, source
        self._pool = None if source.in_memory else ThreadPoolExecutor(THREADS, thread_name_prefix="windows")
        self._reading: deque[Future[Batch]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def next(self) -> Batch:
        """The next batch. Raises StorageError when a record is damaged."""
        learner, horizon = self._learner, self._learner.config.horizon
        ahead = 1 if self._pool is None else AHEAD
        while len(learner.pending) < ahead:
            learner.pending.append(learner.sampler.draw(self._source.ids(horizon), learner.config.batch_size, learner.rng))
        if self._pool is None:
            batch = self._source.windows(learner.pending[0].ids, horizon)
        else:
            for drawn in list(learner.pending)[len(self._reading) :]:
                self._reading.append(self._pool.submit(self._source.windows, drawn.ids, horizon))
            batch = self._reading.popleft().result()
        drawn = learner.pending.popleft()
        return Batch(batch.frames, batch.actions, drawn.ids, drawn.weights)
