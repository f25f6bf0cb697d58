"""What a training says of itself: a line of numbers now and then, pictures of what it predicts."""

import time
from typing import Any

import numpy as np

from nodes.trainer.journal import Journal
from worldmodel.batch import Batch
from worldmodel.canvas import canvas
from worldmodel.learner import Learner

LINE_S = 2.0
COST = 0.01
"""Share of the time that the dearer numbers may take."""
SHOWN = 4


class Watch:
    """Steps of a learner, written down. The numbers that cost more than a step's own are taken so seldom that they cost little."""

    def __init__(self, learner: Learner, journal: Journal) -> None:
        self.learner, self.journal = learner, journal
        self._next_s = 0.0
        self._plain_s = 0.0
        self._counted = time.monotonic(), learner.samples
        self.samples_per_s = 0.0

    def step(self, batch: Batch, more: dict[str, float] | None = None) -> dict[str, float]:
        """One step, and a line when one is due, with `more`."""
        start_s = time.monotonic()
        due = start_s >= self._next_s
        report = self.learner.step(batch, watch=due)
        now_s = time.monotonic()
        took_s = now_s - start_s
        if not due:
            self._plain_s = took_s if not self._plain_s else self._plain_s + 0.1 * (took_s - self._plain_s)
            return report
        then_s, before = self._counted
        if before != self.learner.samples and now_s > then_s:
            self.samples_per_s = (self.learner.samples - before) / (now_s - then_s)
        self._counted = now_s, self.learner.samples
        counts = {name: value for name, value in report.items() if name != "samples"}
        self.journal.numbers("step", {**counts, "samples_per_s": self.samples_per_s, **(more or {})}, self.learner.samples)
        extra_s = max(0.0, time.monotonic() - start_s - self._plain_s) if self._plain_s else took_s
        self._next_s = now_s + max(LINE_S, extra_s / COST)
        return report


def prediction_pictures(learner: Learner, batch: Batch) -> dict[str, np.ndarray]:
    """By camera the first windows one below the other: what was seen, then the truth; below each what is predicted."""
    some = Batch({name: frames[:SHOWN] for name, frames in batch.frames.items()}, batch.actions[:SHOWN])
    imagined = learner.imagine(some)
    found = {}
    for name, frames in some.frames.items():
        rows: list[Any] = []
        for window, actions, answer in zip(frames, some.actions, imagined[name], strict=True):
            rows += [
                canvas(window, actions, learner.spec.actions),
                canvas(np.append(window[:-1], answer[None], 0), actions, learner.spec.actions),
            ]
        found[name] = np.concatenate(rows)
    return found
