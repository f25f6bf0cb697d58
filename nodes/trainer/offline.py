"""Training from recorded sessions, without a robot: the same steps as live, until an end that is known before.

run = Offline(learner, learned, held_out, run_dir, goal, journal, meta)
outcome = run.go(show)
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nodes.trainer.feeder import Feeder
from nodes.trainer.journal import Journal
from nodes.trainer.recorded import Recorded
from nodes.trainer.watching import Watch, prediction_pictures
from worldmodel import checkpoint
from worldmodel.batch import Batch
from worldmodel.judging import judges
from worldmodel.learner import Learner

WARM_STEPS, MEASURED_S = 3, 2.0
"""The first steps are slow; how long those behind them are timed, where an end in seconds has to be one in samples."""
OPEN_END = 1 << 40
"""Stands for an end that is not measured yet."""
SPARE = 0.97


class End(msgspec.Struct, frozen=True):
    """Where training ends: after so many samples in all, or seconds from now; 0 is no end."""

    total_samples: int = 0
    seconds: float = 0.0


class Shown(msgspec.Struct, frozen=True):
    """What a progress line says."""

    samples: int
    total_samples: int
    left_s: float | None
    samples_per_s: float
    loss: float
    skill: float | None


class Outcome(msgspec.Struct, frozen=True):
    """How it ended, as a machine reads it: `done`, `stopped`, `diverged` or `plateau`; nothing is done where no step was made."""

    outcome: str
    detail: str
    samples: int
    steps: int
    seconds: float
    waited_share: float
    """Of the time of the steps, what was spent waiting for data."""
    scores: dict[str, float]
    checkpoint: str


class Offline:
    """One run; `stop` ends it after the step that is being made."""

    def __init__(
        self, learner: Learner, learned: Recorded, held_out: Recorded, folder: Path, end: End, journal: Journal,
        metadata: dict[str, Any], every_s: float = 60.0,
    ) -> None:  # fmt: skip
        self.learner, self.end, self.journal = learner, end, journal
        self.folder, self.metadata, self.every_s = folder, metadata, every_s
        self.stop = threading.Event()
        self.scores: dict[str, float] = {}
        self._scored_samples = -1
        self._saved: tuple[int, Path] | None = None
        count, seed = learner.config.judge_windows, learner.config.seed
        self._learned = learned
        self._train_side = learned.some(count, seed) if judges(learner.config) else None
        self._held_side = held_out.some(count, seed) if len(held_out) else None
        self._copied = None if self._held_side is None else copy_error(self._held_side)
        self._waited_s = 0.0
        self._trained_s = float(metadata.get("trained_s", 0.0))
        self._start_s = time.monotonic()
        self._timed = self._start_s, learner.samples

    def go(self, show: Callable[[Shown], None]) -> Outcome:
        """Train to the end. Raises TrainingFailed, StorageError, CheckpointError."""
        learner, start_s = self.learner, time.monotonic()
        self._start_s = start_s
        first, due_s = learner.samples, start_s + self.every_s
        watch = Watch(learner, self.journal)
        self._end_of_seconds(start_s, first)
        with Feeder(learner, self._learned) as feeder:
            while (ended := self._ended(start_s)) is None:
                asked_s = time.monotonic()
                batch = feeder.next()
                self._waited_s += time.monotonic() - asked_s
                before = learner.samples
                report = watch.step(batch)
                now_s = time.monotonic()
                self._end_of_seconds(start_s, first)
                if before // learner.config.judge_every_samples != learner.samples // learner.config.judge_every_samples:
                    self._judge()
                if now_s >= due_s:
                    self.save()
                    due_s = time.monotonic() + self.every_s
                speed = (learner.samples - first) / max(now_s - start_s, 1e-9)
                show(
                    Shown(
                        learner.samples,
                        self._total(),
                        self._left_s(start_s, speed),
                        speed,
                        report["mse"],
                        self._skill(),
                    )
                )
        path = self.save()
        took_s = time.monotonic() - start_s
        share = self._waited_s / max(took_s, 1e-9)
        return Outcome(*ended, learner.samples, learner.steps, round(took_s, 3), round(share, 4), self.scores, path.name)

    # -- where it ends ----------------------------------------------------------------------------

    def _ended(self, start_s: float) -> tuple[str, str] | None:
        learner, total = self.learner, self._total()
        if self.stop.is_set():
            return "stopped", "asked to"
        if (stop := learner.judgement.stop(learner.config)) is not None:
            return stop
        if total and learner.samples >= total:
            return "done", f"{learner.samples} samples"
        if self.end.seconds and time.monotonic() - start_s >= self.end.seconds:
            return "done", f"{self.end.seconds:g} s"
        return None

    def _total(self) -> int:
        """0 where it is not known."""
        total = self.end.total_samples or self.learner.config.total_samples
        return 0 if total >= OPEN_END else total

    def _end_of_seconds(self, start_s: float, first: int) -> None:
        """A schedule that needs an end gets it once, from the speed of the first steps."""
        learner, now_s = self.learner, time.monotonic()
        if learner.config.total_samples < OPEN_END:
            return
        elapsed_s = now_s - start_s
        if learner.samples - first <= WARM_STEPS * learner.config.batch_size and elapsed_s < self.end.seconds / 4:
            self._timed = now_s, learner.samples
            return
        then_s, before = self._timed
        if learner.samples == before or now_s - then_s < min(MEASURED_S, self.end.seconds / 8):
            return
        speed = (learner.samples - before) / (now_s - then_s)
        total = learner.samples + int(SPARE * speed * (self.end.seconds - elapsed_s))
        self.learner.config = msgspec.structs.replace(learner.config, total_samples=total)
        self.journal.event(f"{speed:.0f} samples/s: {self.end.seconds:g} s end the schedule at {total} samples", total_samples=total)

    def _skill(self) -> float | None:
        return self.scores.get("skill_copy_last")

    def _left_s(self, start_s: float, speed: float) -> float | None:
        by_clock = start_s + self.end.seconds - time.monotonic() if self.end.seconds else None
        total = self._total()
        by_samples = (total - self.learner.samples) / speed if total and speed else None
        known = [left for left in (by_clock, by_samples) if left is not None]
        return max(0.0, min(known)) if known else None

    # -- what is said and kept on the way ---------------------------------------------------------

    def _judge(self) -> None:
        """At fixed numbers of samples, so that a resumed run judges what the whole one would."""
        learner = self.learner
        if self._train_side is not None:
            told = learner.judge(self._train_side, self._held_side)
            self.journal.numbers("judge", told, learner.samples)
            if learner.judgement.divergence.reason:
                self.journal.event(f"divergent: {learner.judgement.divergence.reason}", samples=learner.samples)
            self._scored(told.get("held_out_mse"))
        else:
            self._score()

    def _score(self) -> None:
        self._scored(None if self._held_side is None else self.learner.error(self._held_side))

    def _scored(self, error: float | None) -> None:
        if error is None or self._copied is None or self._held_side is None:
            return
        self._scored_samples = self.learner.samples
        self.scores = {"held_out_mse": error, "copy_last_mse": self._copied}
        if self._copied > 0:
            self.scores["skill_copy_last"] = 1.0 - error / self._copied
        self.journal.numbers("score", self.scores, self.learner.samples)
        if self.journal.wants_pictures:
            for name, picture in prediction_pictures(self.learner, self._held_side).items():
                self.journal.picture(f"prediction/{name}", picture, self.learner.samples)

    def save(self) -> Path:
        """A checkpoint of what there is now, with the scores of these very weights; the last one, when nothing was learned since."""
        if self._saved is not None and self._saved[0] == self.learner.steps:
            return self._saved[1]
        if self._scored_samples != self.learner.samples:
            self._score()
        cases = 0 if self._held_side is None else len(self._held_side)
        trained_s = round(self._trained_s + time.monotonic() - self._start_s, 3)
        held_out = {"score": "skill_copy_last", "better": "higher", "cases": cases}
        metadata = {**self.metadata, "scores": self.scores, "held_out": held_out, "trained_s": trained_s}
        path = checkpoint.save(self.folder / "checkpoints", self.learner, metadata, best=1)
        self._saved = self.learner.steps, path
        return path


def copy_error(batch: Batch) -> float:
    """Mean squared error in [0, 1] of showing the last frame again."""
    sums = pixels = 0.0
    for frames in batch.frames.values():
        wrong = frames[:, -1].astype(np.float32) - frames[:, -2]
        sums, pixels = sums + float(np.square(wrong).sum(dtype=np.float64)), pixels + wrong.size
    return sums / pixels / 255.0**2
