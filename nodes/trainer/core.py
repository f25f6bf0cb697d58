"""What a trainer does, without sockets or clocks: remember, learn, score.

Fed with frames and actions; held-out ones are only scored on. The scores come from the robot's probe where
there is one, else from held-out episodes.
"""

import numpy as np

from nodes.trainer.buffer import ReplayBuffer
from nodes.trainer.config import TrainerConfig
from nodes.trainer.starting import start_config
from nodes.trainer.watching import Watch, prediction_pictures
from nodes.worlds import model_actions, model_cameras, to_vector
from protocol import messages as m
from worldmodel import checkpoint
from worldmodel.batch import Batch
from worldmodel.evaluate import Probe, Scores, score_probe, score_transitions
from worldmodel.judging import judges
from worldmodel.learner import Learner
from worldmodel.predictor import FramePredictor
from worldmodel.spec import ModelSpec, model_spec

MB = 1 << 20
HELD_OUT_MB = 256
SCORED_WINDOWS = 128


class TrainerCore:
    """One learner and what it has seen."""

    def __init__(self, config: TrainerConfig, robot: m.Robot, seed: int, start: checkpoint.Checkpoint | None) -> None:
        """`start`: a checkpoint to go on from; its spec must be the one asked for, or SpecMismatch is raised."""
        self.config = config
        self.names = robot.actions.names
        cameras = model_cameras(robot.cameras)
        self.spec: ModelSpec = model_spec(cameras, model_actions(robot.actions), config.model, **config.spec)
        if start is not None and start.spec != self.spec:
            raise checkpoint.SpecMismatch(start.path, start.spec.differing_fields(self.spec))
        train, self.rate_said = start_config(config.train, config.model, start, seed=seed)
        if config.gate and (robot.timing != "lockstep" or train.horizon > 1):
            raise ValueError("gate needs a robot in lockstep, which waits, and no rollout loss: set timing=lockstep or gate=0")
        self.learner = start.learner(train, config.device) if start else Learner(self.spec, train, config.device)
        self.learner.forget_source()
        size, context = len(self.names), self.spec.context
        self.buffer = ReplayBuffer(cameras, size, context, capacity_bytes=config.buffer_mb * MB)
        self.held_out = ReplayBuffer(cameras, size, context, capacity_bytes=HELD_OUT_MB * MB)
        self.probe: Probe | None = None
        self.frames_seen = 0
        self.keeps_ratio = config.train_ratio > 0 and robot.timing == "lockstep"
        """Whether what a frame allows is to be trained before the next one comes."""
        self._scorer: FramePredictor | None = None
        self._first_samples = self.learner.samples
        self.watch: Watch | None = None
        """Who writes the steps down, if anybody does."""
        self._judged = self.learner.samples // train.judge_every_samples

    def fits(self, robot: m.Robot) -> bool:
        """Whether the model was made for this robot's cameras and actions."""
        return self.spec.cameras == model_cameras(robot.cameras) and self.spec.actions == model_actions(robot.actions)

    def check_probe(self, arrays: dict[str, np.ndarray]) -> None:
        """ValueError or LookupError unless the arrays of a probe fit each other and this robot."""
        states, before = arrays["past_actions"].shape[:2]
        tried, size = arrays["candidates"].shape[0], len(self.names)
        if not states or not tried:
            raise ValueError(f"a probe of {states} states and {tried} candidates")
        wanted: dict[str, tuple[tuple[int, ...], type]] = {
            "past_actions": ((states, before, size), np.float32), "candidates": ((tried, size), np.float32),
        }  # fmt: skip
        for camera in self.spec.cameras:
            pixels = (camera.height, camera.width, 3)
            wanted[f"history/{camera.name}"] = (states, before + 1, *pixels), np.uint8
            wanted[f"next/{camera.name}"] = (states, tried, *pixels), np.uint8
        if "position" in arrays:
            wanted["position"] = (states, tried, 2), np.float32
        if "colour" in arrays:
            wanted["colour"] = (3,), np.uint8
        if "novel" in arrays:
            wanted["novel"] = (states,), np.uint8
        for name, (shape, dtype) in wanted.items():
            array = arrays[name]
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(f"the probe's {name} is {array.dtype} {array.shape}, it should be {np.dtype(dtype)} {shape}")

    def set_probe(self, arrays: dict[str, np.ndarray]) -> None:
        """The robot's probe, cut to the model's context."""
        self.probe = cut_probe(arrays, self.spec.context)

    def add_frame(self, message: m.Message) -> None:
        envelope = message.envelope
        images = {n.removeprefix("image/"): a for n, a in message.arrays.items() if n.startswith("image/")}
        buffer = self.held_out if message.body.held_out else self.buffer
        buffer.add_frame(envelope.episode or 0, envelope.step or 0, images)
        self.frames_seen += not message.body.held_out

    def add_action(self, message: m.Message, held_out: bool) -> None:
        """An action that was not carried out leaves a hole: its transition is not learned from."""
        if message.body.success:
            buffer = self.held_out if held_out else self.buffer
            vector = to_vector(message.body.action, self.names)
            buffer.add_action(message.envelope.episode or 0, message.envelope.step or 0, vector)

    def can_train(self) -> bool:
        """Whether there is enough to learn from, and the set ratio of samples to frames allows more."""
        if self.frames_seen <= self.config.min_transitions or len(self.buffer) < self.config.min_transitions:
            return False
        ratio = self.config.train_ratio
        return not ratio or self.learner.samples - self._first_samples < ratio * self.frames_seen

    def train(self) -> dict[str, float]:
        """One step; its numbers."""
        return self._step(self.learner.draw(self.buffer))

    def train_on(self, transition: int) -> tuple[dict[str, float], float]:
        """One step with this transition in its batch; its numbers, and what that transition cost before it."""
        report = self._step(self.learner.draw(self.buffer, transition))
        return report, float(self.learner.sample_losses[0])

    def _step(self, batch: Batch) -> dict[str, float]:
        return self.learner.step(batch) if self.watch is None else self.watch.step(batch)

    def judge(self) -> dict[str, float] | None:
        """Compare what is learned from with what is held out, where the training wants to know and it is time."""
        learner, config = self.learner, self.learner.config
        turn = learner.samples // config.judge_every_samples
        if turn == self._judged or not judges(config):
            return None
        self._judged = turn
        held_out = self.held_out.spread(config.judge_windows) if len(self.held_out) else None
        return learner.judge(self.buffer.spread(config.judge_windows), held_out)

    def pictures(self) -> dict[str, np.ndarray]:
        """By camera, what is predicted of a few windows beside the truth."""
        source = self.held_out if len(self.held_out) else self.buffer
        return prediction_pictures(self.learner, source.spread(4)) if len(source) else {}

    def score(self) -> Scores | None:
        """The averaged weights on what is held out; None while there is nothing to score on."""
        if self.probe is None and len(self.held_out) == 0:
            return None
        if self._scorer is None:
            self._scorer = FramePredictor(self.spec, self.learner.ema_state(), self.config.device)
        else:
            self._scorer.swap(self.learner.ema_state())
        if self.probe is not None:
            return score_probe(self._scorer, self.probe)
        # the nearest neighbour is left to `toddle evaluate`: searching costs as much as all the rest
        return score_transitions(self._scorer, self.held_out.spread(SCORED_WINDOWS))

    def scored_cases(self) -> int:
        """How many predictions `score` compares."""
        if self.probe is not None:
            return len(self.probe.past_actions) * len(self.probe.candidates)
        return min(len(self.held_out), SCORED_WINDOWS)

    def learned(self, scores: Scores) -> bool:
        """Whether every score of the goal is reached."""
        goal = self.config.goal
        values = {name: getattr(scores, name) for name in goal}
        return bool(goal) and all(value is not None and value >= goal[name] for name, value in values.items())


def cut_probe(arrays: dict[str, np.ndarray], context: int) -> Probe:
    """A probe message's arrays, with histories as long as the model's context; ValueError when they are shorter."""
    history = {n.removeprefix("history/"): a for n, a in arrays.items() if n.startswith("history/")}
    given = next(iter(history.values())).shape[1]
    if given < context:
        raise ValueError(f"the probe's histories hold {given} frames, the model sees {context}: lower its context")
    return Probe(
        frames={name: array[:, -context:] for name, array in history.items()},
        past_actions=arrays["past_actions"][:, given - context :],
        candidates=arrays["candidates"],
        next={n.removeprefix("next/"): a for n, a in arrays.items() if n.startswith("next/")},
        position=arrays.get("position"),
        colour=arrays.get("colour"),
        novel=arrays.get("novel"),
    )


def numbers(scores: Scores) -> dict[str, float]:
    """The scores that apply, as metrics."""
    names = scores.__dataclass_fields__
    return {name: value for name in names if (value := getattr(scores, name)) is not None}
