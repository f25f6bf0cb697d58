"""Batches of recorded sessions for a learner; what is not in memory, threads read ahead while the model computes.

with Feeder(learner, source) as feeder:
    learner.step(feeder.next())
"""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from nodes.trainer.recorded import Recorded
from worldmodel.batch import Batch
from worldmodel.learner import Learner

AHEAD = 3
"""Batches that are read while one is learned from."""
THREADS = 2


class Feeder:
    """Batches as the learner samples them; what is drawn ahead is saved with it."""

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
