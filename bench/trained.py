"""A model trained alone for a set time, from arrays in memory: what it became, and how much it saw."""

import time
from dataclasses import dataclass
from typing import Any

import msgspec

from bench.worlds import World
from worldmodel.learner import Learner
from worldmodel.predictor import FramePredictor
from worldmodel.presets import PRESETS
from worldmodel.spec import model_spec
from worldmodel.trainconfig import train_config

MEASURED_SHARE = 0.05
"""Of the time, after which the speed so far says where a cosine ends."""
OPEN_END = 1 << 40


@dataclass(frozen=True)
class Recipe:
    """A preset, and what differs from it."""

    model: str = "small"
    spec: dict[str, Any] | None = None
    train: dict[str, Any] | None = None

    def learner(self, world: World, seed: int) -> Learner:
        spec = model_spec(world.cameras, world.actions, self.model, **(self.spec or {}))
        train = {"total_samples": OPEN_END, **PRESETS[self.model]["train"], **(self.train or {})}
        return Learner(spec, train_config(train, seed=seed))


@dataclass(frozen=True)
class Trained:
    """Its predictor, with the weights that training ends with."""

    predictor: FramePredictor
    samples: int
    steps: int
    seconds: float
    parameters: int


def train_for(world: World, recipe: Recipe, seconds: float, seed: int) -> Trained:
    """Train for so many seconds, of which nothing goes to scoring. A cosine ends with the time, by the speed so far."""
    learner = recipe.learner(world, seed)
    source = world.with_context(learner.spec.context).train
    cosine = learner.config.schedule == "cosine" and learner.config.total_samples == OPEN_END
    learner.step(learner.draw(source))  # what is made once is not training
    start_s, first = time.monotonic(), learner.samples
    while (elapsed_s := time.monotonic() - start_s) < seconds and learner.samples < learner.config.total_samples:
        if cosine and elapsed_s > MEASURED_SHARE * seconds:
            left = int((learner.samples - first) / elapsed_s * (seconds - elapsed_s))
            learner.config = msgspec.structs.replace(learner.config, total_samples=learner.samples + max(left, learner.config.batch_size))
        learner.step(learner.draw(source))
    took_s = time.monotonic() - start_s
    predictor = FramePredictor(learner.spec, learner.ema_state())
    parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    return Trained(predictor, learner.samples, learner.steps, took_s, parameters)
