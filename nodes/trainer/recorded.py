"""Recorded sessions as a source of windows, for scoring."""

import copy

import numpy as np

from storage.loading.frames import Frames
from storage.loading.windows import Windows
from storage.reader import SessionReader
from worldmodel.batch import Batch, IntArray
from worldmodel.spec import ModelSpec


class Recorded:
    """The transitions of one session, by index; arrays are new with every call. See worldmodel/source.py."""

    def __init__(self, reader: SessionReader, spec: ModelSpec) -> None:
        self.reader = reader
        self._windows = Windows(Frames([reader], [camera.name for camera in spec.cameras]), spec.context)
        frame, frames = self._windows.frame, self._windows.frames
        self.episode, self.step = frames.episode[frame], frames.step[frame]
        rate_hz = reader.robot.rate_hz if reader.robot else 1.0
        self.second = (self.step / max(rate_hz, 1e-3)).astype(np.int64)

    def ids(self, horizon: int = 1) -> IntArray:
        """Transitions that `horizon` - 1 more follow without a hole."""
        frame, episode = self._windows.frame, self.episode
        ahead = horizon - 1
        whole = np.zeros(len(frame), bool)
        if len(frame) > ahead:
            end = len(frame) - ahead
            whole[:end] = (frame[ahead:] - frame[:end] == ahead) & (episode[ahead:] == episode[:end])
        return np.flatnonzero(whole)

    def of(self, episodes: set[int], horizon: int = 1) -> IntArray:
        """Those of these episodes."""
        ids = self.ids(horizon)
        return ids[np.isin(self.episode[ids], list(episodes))]

    def windows(self, ids: IntArray, horizon: int = 1) -> Batch:
        """Windows of context + horizon frames; see `Source`."""
        windows = copy.copy(self._windows)
        windows.context += horizon - 1  # what follows is the history of the last transition
        out = windows.empty(len(ids))
        windows.read(np.asarray(ids) + horizon - 1, out)
        return Batch(out.frames, out.actions, np.asarray(ids))
