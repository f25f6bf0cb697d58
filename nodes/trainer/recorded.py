"""Windows of recorded sessions as a `Source`: to learn from, and to be scored on."""

from collections.abc import Sequence
from typing import Self

import numpy as np

from storage.loading.frames import Frames
from storage.loading.windows import Windows
from storage.reader import SessionReader
from worldmodel.batch import Batch, IntArray


class Recorded:
    """Some of the windows of sessions, all unless told which; an id is the index of a window among all of them.

    `memory`: all frames, decoded, where there is room for them; else they are read and decoded as they are asked for.
    """

    def __init__(self, windows: Windows, chosen: IntArray | None = None, memory: dict[str, np.ndarray] | None = None) -> None:
        self.context = windows.context
        self._windows = windows
        self._memory = memory
        self._ids = {1: np.arange(len(windows)) if chosen is None else chosen}

    @classmethod
    def whole(cls, readers: Sequence[SessionReader], cameras: Sequence[str], context: int) -> Self:
        """All of these sessions. Raises StorageError."""
        return cls(Windows(Frames(readers, cameras), context))

    def part(self, chosen: IntArray) -> "Recorded":
        """Only these."""
        return Recorded(self._windows, chosen, self._memory)

    def __len__(self) -> int:
        return len(self._ids[1])

    @property
    def in_memory(self) -> bool:
        return self._memory is not None

    def ids(self, horizon: int = 1) -> IntArray:
        """See `Source`; what follows is of these windows too."""
        if horizon not in self._ids:
            newest = self._windows.frame[self._ids[1]]
            starts = np.zeros(len(self._windows.frames) + horizon, bool)
            starts[newest] = True
            self._ids[horizon] = self._ids[1][np.all([starts[newest + ahead] for ahead in range(horizon)], axis=0)]
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

    # -- where they lie, by id --------------------------------------------------------------------

    def session(self, ids: IntArray) -> IntArray:
        """The number of the session among those read."""
        return self._windows.frames.session[self._windows.frame[ids]]

    def episode(self, ids: IntArray) -> IntArray:
        return self._windows.frames.episode[self._windows.frame[ids]]

    def step(self, ids: IntArray) -> IntArray:
        """Of the newest frame that is seen; the next one is predicted."""
        return self._windows.frames.step[self._windows.frame[ids]]

    @property
    def readers(self) -> Sequence[SessionReader]:
        return self._windows.frames.sessions
