"""The trainer node: learns from what the bus brings, publishes weights and scores, keeps checkpoints."""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nodes.leftbehind import LeftBehind
from nodes.runtime import MAX_WAIT_S, Node, NodeError, content_of
from nodes.trainer import taken
from nodes.trainer.config import TrainerConfig
from nodes.trainer.gate import Gate
from protocol import messages as m
from protocol.books import Resume

if TYPE_CHECKING:
    from nodes.trainer.core import TrainerCore
    from nodes.trainer.journal import Journal
    from worldmodel.evaluate import Scores

TAKEN_EVERY_S = 0.25
METRICS_EVERY_S = 0.5
SCORE_MARKS_S = (30, 60, 120, 240)
BEST_BY = "skill_copy_last"


class TrainerNode(Node):
    config: TrainerConfig
    drains = True

    def setup(self) -> None:
        if self.config.nice and hasattr(os, "nice"):
            os.nice(self.config.nice)
        # torch takes seconds to import: here, where heartbeats go on, and only in this process
        import nodes.trainer.core  # noqa: F401
        from nodes.trainer.watching import Intervals

        self.core: TrainerCore | None = None
        self.journal: Journal | None = None
        self.gate = Gate(self.config.gate, self.config.gate_steps) if self.config.gate else None
        self._acted = Intervals("action_interval_s")
        self.checkpoints = self.run_dir / "checkpoints"
        self._taken_file = LeftBehind(self.run_dir / f"taken-{self.name}.json", self.log)
        self.paused = False
        self.version = 0
        self.first_frame_s: float | None = None
        self.last_scores: Scores | None = None
        self._scored_samples = -1
        self._sessions_before: set[str] = set()
        self._sessions_played: set[str] = set()
        self._marks_left = list(SCORE_MARKS_S)
        self._held_episodes: set[int] = set()
        self._held_origins: set[tuple[str, int | None]] = set()
        self._ignored_episode: int | None = None
        self._due_s = {"taken": 0.0, "metrics": 0.0, "weights": 0.0, "score": 0.0, "checkpoint": 0.0}
        self._counted = (0.0, 0)

    def resume(self) -> Mapping[str, Resume]:
        return taken.load(self._taken_file.path)

    # -- what comes -------------------------------------------------------------------------------

    def on_robot(self, message: m.Message) -> None:
        from nodes.trainer.core import TrainerCore
        from worldmodel.checkpoint import CheckpointError

        try:
            if self.core is not None:
                if not self.core.fits(message.body):
                    raise NodeError("the robot came back with other cameras or actions: start a new run for it")
                return
            start = self._start()
            self.core = TrainerCore(self.config, message.body, self.wiring.seed, start)
        except (ValueError, CheckpointError) as error:
            raise NodeError(str(error)) from None
        self._write_down()
        self.log.info("%s", self.core.rate_said)
        if start is not None:
            self._sessions_before.update(start.metadata.get("sessions", []))
            self.log.info("goes on from %s, %d samples", start.path, self.core.learner.samples)
        spec, learner = self.core.spec, self.core.learner
        self.log.info("model %s, patch %d, %s, %s", spec.hash[:12], spec.patch, learner.device, learner.precision)

    def _write_down(self) -> None:
        """Every step from here on, in the run's log of the training and wherever else it is wanted."""
        from nodes.trainer.journal import Journal
        from nodes.trainer.sinks import asides
        from nodes.trainer.watching import Watch

        assert self.core is not None
        config, warn = self.config, self.log.warning
        others = asides(self.run_dir, self.wiring.run, config.tensorboard, config.wandb, warn)
        self.journal = Journal(self.run_dir / "train.jsonl", others, warn)
        self.journal.event(self.core.rate_said, samples=self.core.learner.samples)
        self.core.watch = Watch(self.core.learner, self.journal, self._acted.numbers)

    def on_probe(self, message: m.Message) -> None:
        if self.core is None:
            return
        with content_of(message):
            self.core.check_probe(message.arrays)
        try:
            self.core.set_probe(message.arrays)
        except ValueError as error:
            raise NodeError(str(error)) from None

    def on_episode(self, message: m.Message) -> None:
        body, episode = message.body, message.envelope.episode
        if body.mark == "start" and not body.held_out and body.origin_session:
            self._sessions_played.add(body.origin_session)
        if body.mark != "start" or not body.held_out or episode is None:
            return
        origin = body.origin_session, body.origin_episode
        if origin in self._held_origins:  # a replay in a loop brings it again
            self._ignored_episode = episode
        self._held_origins.add(origin)
        self._held_episodes.add(episode)

    def on_frame(self, message: m.Message) -> None:
        if self.core is None or message.envelope.episode == self._ignored_episode:
            return
        if self.first_frame_s is None:
            self.first_frame_s = time.monotonic()
            self._due_s = dict.fromkeys(self._due_s, self.first_frame_s)
            self._due_s["checkpoint"] += self.config.checkpoint_every_s
            self._counted = (self.first_frame_s, self.core.learner.samples)
        if message.body.held_out and message.envelope.episode is not None:  # also when its start was not kept for us
            self._held_episodes.add(message.envelope.episode)
        self._train_what_is_owed()
        with content_of(message):
            self.core.add_frame(message)
        if self.gate is not None:
            self._gate(message)

    def _gate(self, message: m.Message) -> None:
        """Hold the frame back while what led to it can be learned from, else let it through."""
        assert self.core is not None and self.gate is not None
        episode, step = message.envelope.episode or 0, message.envelope.step or 0
        learns = self.core.can_train() and not self.paused and not message.body.held_out
        self._release(self.gate.shown((episode, step), self.core.buffer.id_of(episode, step - 1) if learns else None))

    def _release(self, place: tuple[int, int] | None) -> None:
        if place is not None and self.gate is not None:
            self.publish("release", m.Release(loss=self.gate.loss, steps=self.gate.steps), episode=place[0], step=place[1])

    def on_action(self, message: m.Message) -> None:
        episode = message.envelope.episode
        if self.core is not None and episode != self._ignored_episode:
            self._acted.add(message.envelope.mono_ns)
            with content_of(message):
                self.core.add_action(message, episode in self._held_episodes)

    # -- the loop ---------------------------------------------------------------------------------

    def tick(self) -> float:
        if self._due("taken", TAKEN_EVERY_S):
            taken.save(self._taken_file, self.bus.handled)
        if self.core is None or self.first_frame_s is None or self.paused:
            return MAX_WAIT_S
        now_s = time.monotonic()
        elapsed_s = now_s - self.first_frame_s
        if self._marks_left and elapsed_s >= self._marks_left[0]:
            self._score(float(self._marks_left.pop(0)))
        elif self._due("score", self.config.eval_every_s):
            self._score()
        if not self.core.can_train():
            return 0.01
        self._train()
        return 0.0

    def _train(self) -> None:
        """One step, and what is due after it."""
        from worldmodel.learner import TrainingFailed

        assert self.core is not None
        waiting = self.gate.waiting if self.gate is not None else None
        try:
            if waiting is None:
                report = self.core.train()
            else:
                report, loss = self.core.train_on(waiting[1])
        except TrainingFailed as error:
            raise NodeError(str(error)) from None
        if waiting is not None and self.gate is not None:
            self._release(self.gate.trained(loss))
        self._judge()
        if self._due("metrics", METRICS_EVERY_S):
            self._report(report)
        if self._due("weights", self.config.weights_every_s):
            self._publish_weights()
        if self._due("checkpoint", self.config.checkpoint_every_s):
            self._checkpoint()

    def _judge(self) -> None:
        assert self.core is not None
        told = self.core.judge()
        if told is None:
            return
        learner = self.core.learner
        self.metrics(told, step=learner.steps)
        if self.journal is not None:
            self.journal.numbers("judge", told, learner.samples)
        if (stop := learner.judgement.stop(learner.config)) is not None:
            self.finish(*stop)

    def _train_what_is_owed(self) -> None:
        """Where the ratio is kept: the steps that the frames so far allow, whenever they came."""
        while self.core is not None and self.core.keeps_ratio and not self.paused and self.core.can_train():
            self._train()

    def _due(self, what: str, every_s: float) -> bool:
        now_s = time.monotonic()
        if now_s < self._due_s[what]:
            return False
        self._due_s[what] = now_s + every_s
        return True

    def _report(self, report: dict[str, float]) -> None:
        assert self.core is not None
        now_s, samples = time.monotonic(), self.core.learner.samples
        then_s, before = self._counted
        self._counted = now_s, samples
        values = {
            **report,
            "samples_per_s": (samples - before) / max(now_s - then_s, 1e-6),
            "buffer_frames": self.core.buffer.frames,
            "transitions": len(self.core.buffer),
        }
        self.metrics(values, step=self.core.learner.steps)
        if report["skipped_nan"] and report["skipped_nan"] % 100 == 1:
            self.alarm("nan", f"{report['skipped_nan']:.0f} updates skipped: loss or gradient not finite; lower the learning rate")

    def _score(self, mark_s: float | None = None) -> None:
        """Score the averaged weights on what is held out; say so when the goal is reached."""
        from nodes.trainer.core import numbers

        assert self.core is not None
        self._due_s["score"] = time.monotonic() + self.config.eval_every_s
        scores = self.core.score()
        if scores is None:
            return
        learner = self.core.learner
        self.last_scores, self._scored_samples = scores, learner.samples
        values = {**numbers(scores), "samples": learner.samples, "steps": learner.steps}
        if mark_s is not None:
            values["mark_s"] = mark_s
        self.metrics(values, step=learner.steps)
        if self.journal is not None:
            self.journal.numbers("score", values, learner.samples)
            for name, picture in (self.core.pictures() if self.journal.wants_pictures else {}).items():
                self.journal.picture(f"prediction/{name}", picture, learner.samples)
        if self.config.stop_when_learned and self.core.learned(scores):
            self.finish("learned", ", ".join(f"{name} {value:.3f}" for name, value in values.items()))

    def _publish_weights(self) -> None:
        assert self.core is not None
        learner = self.core.learner
        data = learner.weights_bytes()
        self.version += 1
        body = m.Weights(
            version=self.version, spec=json.loads(learner.spec.to_json()), spec_hash=learner.spec.hash,
            sha256=hashlib.sha256(data).hexdigest(), steps=learner.steps, samples=learner.samples,
        )  # fmt: skip
        self.publish("weights", body, {"safetensors": np.frombuffer(data, dtype=np.uint8)})

    def numbers(self) -> Mapping[str, float]:
        return {**super().numbers(), "weights_version": getattr(self, "version", 0)}

    # -- checkpoints ------------------------------------------------------------------------------

    def _start(self) -> Any:
        """The checkpoint to go on from: this run's own after a restart, else the one asked for."""
        from worldmodel import checkpoint
        from worldmodel.finding import find_checkpoint

        found = checkpoint.latest(self.checkpoints)
        if found is None and self.config.resume:
            found = find_checkpoint(self.config.resume, [self.run_dir.parent, Path()])
        return None if found is None else checkpoint.load(found)

    def _checkpoint(self) -> None:
        from nodes.trainer.core import numbers
        from worldmodel import checkpoint

        assert self.core is not None
        if self._scored_samples != self.core.learner.samples:  # of the weights that are saved, or it would be no score of them
            self._score()
        scores = numbers(self.last_scores) if self.last_scores else {}
        metadata = {
            "run": self.wiring.run, "sessions": self._learned_from(), "scores": scores, "action_names": self.core.names,
            "held_out": {"score": BEST_BY, "better": "higher", "cases": self.core.scored_cases()},
        }  # fmt: skip
        path = checkpoint.save(self.checkpoints, self.core.learner, metadata, self.config.checkpoint_keep, self.config.checkpoint_best)
        self.log.info("checkpoint %s", path.name)

    def _learned_from(self) -> list[str]:
        """Sessions that were played, else the one that this run records; and those of the checkpoint that it went on from."""
        own = {file.read_text() for file in self.run_dir.glob("session-*")}
        return sorted(self._sessions_before | (self._sessions_played or own))

    def do_pause(self, args: dict[str, Any]) -> None:
        self.paused = True
        if self.gate is not None:
            self._release(self.gate.open())
        self.bus.set_state("paused")

    def do_resume(self, args: dict[str, Any]) -> None:
        self.paused = False
        self.bus.set_state("running")

    def do_checkpoint(self, args: dict[str, Any]) -> None:
        if self.core is None:
            raise ValueError("nothing is learned yet")
        self._checkpoint()

    def close(self) -> None:
        if getattr(self, "core", None) is None or self.core is None:
            return
        self._train_what_is_owed()
        if self.core.learner.steps:
            self._score()
            self._publish_weights()
            self._checkpoint()
        if self.journal is not None:
            self.journal.close()
