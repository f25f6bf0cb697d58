"""All transitions of a recorded session as a source of windows, with where each of them lies: for scoring."""

import numpy as np

from storage.loading.frames import Frames
from storage.loading.windows import Windows
from storage.reader import SessionReader
from worldmodel.batch import Batch, IntArray
from worldmodel.spec import ModelSpec


class Transitions:
    """The transitions of one session, by index; arrays are new with every call. See worldmodel/source.py."""

    def __init__(self, reader: SessionReader, spec: ModelSpec) -> None:
        self.reader = reader
        self._windows = Windows(Frames([reader], [camera.name for camera in spec.cameras]), spec.context)
        frame, frames = self._windows.frame, self._windows.frames
        self.episode, self.step = frames.episode[frame], frames.step[frame]
        rate_hz = reader.robot.rate_hz if reader.robot else 1.0
        self.second = (self.step / max(rate_hz, 1e-3)).astype(np.int64)

    def ids(self, horizon: int = 1) -> IntArray:
        """See `Source`."""
        return np.flatnonzero(self._windows.lasting(horizon))

    def of(self, episodes: set[int], horizon: int = 1) -> IntArray:
        """Those of these episodes."""
        ids = self.ids(horizon)
        return ids[np.isin(self.episode[ids], list(episodes))]

    def windows(self, ids: IntArray, horizon: int = 1) -> Batch:
        """See `Source`."""
        shown, actions = self._windows.of(np.asarray(ids), horizon)
        frames = self._windows.frames.empty(*shown.shape)
        self._windows.frames.read(shown, frames)
        return Batch(frames, actions, np.asarray(ids))
