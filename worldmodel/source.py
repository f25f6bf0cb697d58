"""Where windows to learn from come from: the live buffer, recorded sessions, or arrays in memory.

    source = Arrays(frames={"front": pictures}, actions=actions, episode=episodes, context=2)
    batch = source.windows(rng.choice(source.ids(), 16))

A transition is two consecutive frames of one episode and the action between them. numpy only.
"""

from typing import Any, Protocol

import numpy as np

from worldmodel.batch import Batch, FloatArray, IntArray, UInt8Array


class Source(Protocol):
    """Transitions, each known by an id for as long as it is held."""

    def ids(self, horizon: int = 1) -> IntArray:
        """Those that can be drawn now, oldest first, int64 [n]: they begin `horizon` transitions that follow one another."""
        ...

    def windows(self, ids: IntArray, horizon: int = 1) -> Batch:
        """Windows whose newest seen frame begins these transitions, with their ids; arrays may be written again by the next call."""
        ...


class Arrays:
    """Transitions of pictures that lie in memory.

    frames: {camera: uint8 [N, H, W, 3]}; actions: float [N, D], row t taken between frames t and t + 1, NaN where none was;
    episode: int [N]. Frames of one episode lie one after another. The id of a transition is the index of its first frame.
    """

    def __init__(self, frames: dict[str, UInt8Array], actions: np.ndarray[Any, Any], episode: np.ndarray[Any, Any], context: int) -> None:
        """Raises ValueError when the lengths differ."""
        lengths = {len(actions), len(episode), *(len(array) for array in frames.values())}
        if len(lengths) != 1:
            raise ValueError(f"frames, actions and episode have the lengths {sorted(lengths)}: give one row of each a frame")
        self.frames = frames
        self.actions: FloatArray = np.asarray(actions, np.float32)
        self.episode: IntArray = np.asarray(episode, np.int64)
        self.context = context
        follows = np.append(self.episode[1:] == self.episode[:-1], False)
        self._valid = follows & ~np.isnan(self.actions).any(axis=1)
        first = np.append(True, ~follows[:-1])
        self._start = np.maximum.accumulate(np.where(first, np.arange(len(first)), 0))

    def ids(self, horizon: int = 1) -> IntArray:
        """See `Source`."""
        run = self._valid.copy()
        for ahead in range(1, horizon):
            run &= np.append(self._valid[ahead:], np.zeros(ahead, bool))
        return np.flatnonzero(run)

    def windows(self, ids: IntArray, horizon: int = 1) -> Batch:
        """See `Source`. The arrays are new."""
        ids = np.asarray(ids, np.int64)
        offsets = np.arange(1 - self.context, horizon + 1)
        wanted = ids[:, None] + offsets
        places = np.maximum(wanted, self._start[ids][:, None])
        actions = np.where((wanted == places)[:, :-1, None], self.actions[places[:, :-1]], np.float32(np.nan))
        return Batch({name: array[places] for name, array in self.frames.items()}, actions, ids)
