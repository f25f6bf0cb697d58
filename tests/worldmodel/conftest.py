"""A small world to learn, and small models that train in milliseconds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from worldmodel.batch import Batch
from worldmodel.evaluate import Probe
from worldmodel.spec import ActionSpace, Camera, ModelSpec, model_spec

Array = np.ndarray[Any, Any]


MOVE = ActionSpace(("move",), choices=((0.0,), (1.0,)))


@pytest.fixture(autouse=True)
def same_numbers() -> Iterator[None]:
    """What torch draws is the same in every order of the tests, and no test's seed reaches the next."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@dataclass(frozen=True)
class DotWorld:
    """A white disc on a torus. Action 1 moves it `step` pixels to the right, action 0 does nothing."""

    size: int = 64
    radius: int = 3
    step: int = 9
    space: ActionSpace = MOVE

    @property
    def cameras(self) -> tuple[Camera, ...]:
        return (Camera("top", self.size, self.size),)

    def draw(self, x: int, y: int) -> Array:
        offsets = np.arange(-self.radius, self.radius + 1)
        dy, dx = np.meshgrid(offsets, offsets, indexing="ij")
        disc = dx**2 + dy**2 <= self.radius**2
        image = np.zeros((self.size, self.size, 3), np.uint8)
        image[(y + dy[disc]) % self.size, (x + dx[disc]) % self.size] = 255
        return image

    def live(self, rng: np.random.Generator, length: int = 32, hold: int = 3) -> Iterator[tuple[int, int, Array, Array]]:
        """Endless (episode, step, frame, action): random places off the probe's rows, held random actions."""
        episode = 0
        while True:
            x, y = (int(value) for value in rng.integers(self.size, size=2))
            if y % 9 == 0:
                continue
            action, left = 0, 0
            for step in range(length):
                if left == 0:
                    action, left = int(rng.integers(2)), int(rng.integers(1, hold + 1))
                left -= 1
                yield episode, step, self.draw(x, y), np.array([action], np.float32)
                x = (x + action * self.step) % self.size
            episode += 1

    def probe(self, context: int, rows: int = 8) -> Probe:
        """Every x of held-out rows (y mod 9 = 0), both actions, random past actions."""
        rng = np.random.default_rng(7)
        frames, past, following, places = [], [], [], []
        for y in range(0, 9 * rows, 9):
            for x in range(self.size):
                actions = rng.integers(0, 2, context - 1)
                behind = np.concatenate((np.cumsum(actions[::-1])[::-1], [0])) * self.step
                frames.append([self.draw((x - int(b)) % self.size, y) for b in behind])
                past.append(actions[:, None])
                ends = [x, (x + self.step) % self.size]
                following.append([self.draw(end, y) for end in ends])
                places.append([[end, y] for end in ends])
        return Probe(
            frames={"top": np.array(frames)},
            past_actions=np.array(past, np.float32),
            candidates=self.space.candidates(),
            next={"top": np.array(following)},
            position=np.array(places, np.float32),
        )


@pytest.fixture
def world() -> DotWorld:
    return DotWorld()


@pytest.fixture
def odd_spec() -> ModelSpec:
    """Two cameras of odd sizes, continuous actions, three frames of history; tiny."""
    space = ActionSpace(("pan", "tilt"), low=(-1.0, 0.0), high=(1.0, 2.0))
    cameras = (Camera("left", 19, 30), Camera("wrist", 9, 13))
    return model_spec(cameras, space, context=3, width=32, heads=2, encoder_depth=1, decoder_depth=1)


MakeBatch = Callable[..., Batch]


@pytest.fixture
def random_batch() -> MakeBatch:
    def make(spec: ModelSpec, size: int = 4, seed: int = 0) -> Batch:
        rng = np.random.default_rng(seed)
        frames = {
            camera.name: rng.integers(0, 256, (size, spec.context + 1, camera.height, camera.width, 3), dtype=np.uint8)
            for camera in spec.cameras
        }
        actions = rng.uniform(0.0, 1.0, (size, spec.context, len(spec.actions.names))).astype(np.float32)
        return Batch(frames=frames, actions=actions)

    return make
