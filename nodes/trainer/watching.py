"""What a training says of itself: a line of numbers now and then, pictures of what it predicts."""

import time
from collections.abc import Callable
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

    def __init__(self, learner: Learner, journal: Journal, more: Callable[[], dict[str, float]] = dict) -> None:
        """`more`: what else a line holds, asked for when one is written."""
        self.learner, self.journal, self._more = learner, journal, more
        self._next_s = 0.0
        self._plain_s = 0.0
        self._counted = time.monotonic(), learner.samples
        self.samples_per_s = 0.0

    def step(self, batch: Batch) -> dict[str, float]:
        """One step, and a line when one is due."""
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
        self.journal.numbers("step", {**counts, "samples_per_s": self.samples_per_s, **self._more()}, self.learner.samples)
        extra_s = max(0.0, time.monotonic() - start_s - self._plain_s) if self._plain_s else took_s
        self._next_s = now_s + max(LINE_S, extra_s / COST)
        return report


class Intervals:
    """Of what came since it was last asked, the time between one and the next."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._times_s: list[float] = []

    def add(self, mono_ns: int) -> None:
        self._times_s.append(mono_ns / 1e9)

    def numbers(self) -> dict[str, float]:
        """Empty while there is none."""
        times_s, self._times_s = self._times_s, self._times_s[-1:]
        every = np.diff(times_s)
        if not len(every):
            return {}
        return {f"{self._name}/{name}": float(getattr(np, name)(every)) for name in ("mean", "median", "min", "max", "std")}


def prediction_pictures(learner: Learner, batch: Batch) -> dict[str, np.ndarray]:
    """By camera the first windows one below the other: what was seen, then the truth; below each what is predicted."""
    some = Batch({name: frames[:SHOWN] for name, frames in batch.frames.items()}, batch.actions[:SHOWN])
    imagined = learner.imagine(some)
    found = {}
    for name, frames in some.frames.items():
        rows: list[Any] = []
        for window, actions, answer in zip(frames, some.actions, imagined[name], strict=True):
            guessed = np.append(window[:-1], answer[None], 0)
            rows += [canvas(shown, actions, learner.spec.actions) for shown in (window, guessed)]
        found[name] = np.concatenate(rows)
    return found
