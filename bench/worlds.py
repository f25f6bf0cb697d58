"""Worlds to learn from and to be scored on, as arrays: straight from the drivers and the recordings, without a bus.

    world = dot(seed=0, size=64)
    learner = Learner(model_spec(world.cameras, world.actions, "small"), TrainConfig(), "cpu")
    batch = world.train.windows(rng.choice(world.train.ids(), 16))

Windows hold `CONTEXT` seen frames, for a shorter context make `Arrays` of the same arrays again: `world.with_context(2)`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.learning import recordings
from nodes.robot.dot import ToroidalDot
from nodes.robot.gymnasium.driver import Gymnasium
from nodes.robot.gymnasium.pusht import AGENT_COLOUR, WIDTH
from nodes.robot.gymnasium.simulation import Simulation
from nodes.robot.mujoco_arm.driver import MujocoArm
from nodes.robot.mujoco_arm.physics import TIP_COLOUR
from nodes.robot.truth import Truths
from nodes.trainer.core import cut_probe
from nodes.worlds import model_actions, model_cameras
from storage.exchange.lerobot.importing import import_lerobot
from storage.exchange.tub_import import import_tub
from storage.loading.frames import Frames, robot_of
from storage.loading.windows import Windows
from storage.reader import SessionReader
from worldmodel.batch import Batch
from worldmodel.evaluate import Probe
from worldmodel.source import Arrays
from worldmodel.spec import ActionSpace, Camera

CONTEXT = 3
HORIZON = 16
BAND = range(96, 112)
"""Rows of the 224 pixel dot that are never trained: one row of patches."""
EPISODE_FRAMES = 8
CHUNK = 64


@dataclass(frozen=True)
class World:
    """Transitions to train on, others to choose by, others to be scored on; states with counterfactual truth; long windows."""

    name: str
    cameras: tuple[Camera, ...]
    actions: ActionSpace
    train: Arrays
    held_out: Arrays
    validation: Arrays | None = None
    probes: dict[str, Probe] = field(default_factory=dict)
    rollouts: Batch | None = None

    def with_context(self, context: int) -> "World":
        """The same for a model that sees so many frames, at most CONTEXT."""
        drop = CONTEXT - context

        def arrays(old: Arrays) -> Arrays:
            return Arrays(old.frames, old.actions, old.episode, context)

        probes = {
            name: replace(probe, frames={camera: array[:, drop:] for camera, array in probe.frames.items()},
                          past_actions=probe.past_actions[:, drop:])
            for name, probe in self.probes.items()
        }  # fmt: skip
        rollouts = self.rollouts
        if rollouts is not None:
            rollouts = Batch({name: array[:, drop:] for name, array in rollouts.frames.items()}, rollouts.actions[:, drop:])
        validation = None if self.validation is None else arrays(self.validation)
        return replace(
            self, train=arrays(self.train), held_out=arrays(self.held_out), validation=validation, probes=probes, rollouts=rollouts
        )


# -- the toroidal dot -------------------------------------------------------------------------------


def dot(seed: int = 0, size: int = 64, train_frames: int = 4096, states: int = 512) -> World:
    """The dot at 64 x 64 (radius 3, step 9) or 224 x 224 (radius 5, step 27): random starts, random actions.

    Rows y mod 9 = 0 are never trained, nor, at 224, those of BAND; both are probed, with every action's truth.
    """
    radius, step = (5, 27) if size == 224 else (3, 9)
    driver = ToroidalDot({"size": size, "radius": radius, "step": step, "holdout_modulus": 9}, seed)
    rows = {"y mod 9 = 0": np.arange(0, size, 9)}
    if size == 224:
        rows["band"] = np.array([y for y in BAND if y % 9])
    seen = np.setdiff1d(np.arange(size), np.concatenate(list(rows.values())))
    made = _Dot(driver, np.random.default_rng((seed, size)))
    return World(
        name=f"dot{size}",
        cameras=(Camera("top", size, size),),
        actions=model_actions(driver.action_space),
        train=made.arrays(seen, train_frames),
        validation=made.arrays(seen, 512),
        held_out=made.arrays(rows["y mod 9 = 0"], 512),
        probes={name: made.probe(of, states) for name, of in rows.items()},
        rollouts=made.rollouts(rows["y mod 9 = 0"], 64),
    )


class _Dot:
    """Draws states and their past; grey pictures, seen as three equal colours without a copy."""

    def __init__(self, driver: ToroidalDot, rng: np.random.Generator) -> None:
        self._driver, self._rng = driver, rng
        self._size, self._step = driver.options.size, driver.options.step

    def paths(self, rows: np.ndarray, count: int, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Columns [count, frames], rows [count], actions [count, frames - 1]."""
        x, y = self._rng.integers(self._size, size=count), self._rng.choice(rows, count)
        actions = self._rng.integers(2, size=(count, frames - 1))
        moved = np.concatenate([np.zeros((count, 1), int), actions.cumsum(axis=1)], axis=1)
        return (x[:, None] + self._step * moved) % self._size, y, actions

    def pictures(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Columns [N, T] and rows [N] to uint8 [N, T, S, S, 3]."""
        grey = np.empty((*x.shape, self._size, self._size), np.uint8)
        for place in np.ndindex(x.shape):
            grey[place] = self._driver.picture(int(x[place]), int(y[place[0]]))[..., 0]
        return np.broadcast_to(grey[..., None], (*grey.shape, 3))

    def arrays(self, rows: np.ndarray, frames: int) -> Arrays:
        x, y, actions = self.paths(rows, frames // EPISODE_FRAMES, EPISODE_FRAMES)
        known = np.concatenate([actions, np.full((len(actions), 1), np.nan)], axis=1)
        pictures = self.pictures(x, y)
        episode = np.repeat(np.arange(len(x)), EPISODE_FRAMES)
        return Arrays({"top": _flat(pictures)}, known.reshape(-1, 1), episode, CONTEXT)

    def probe(self, rows: np.ndarray, count: int) -> Probe:
        x, y, past = self.paths(rows, count, CONTEXT)
        after = (x[:, -1:] + np.array([[0, self._step]])) % self._size
        position = np.stack([after, np.repeat(y[:, None], 2, axis=1)], axis=2)
        return Probe(
            frames={"top": self.pictures(x, y)},
            past_actions=past[..., None].astype(np.float32),
            candidates=np.array([[0.0], [1.0]], np.float32),
            next={"top": self.pictures(after, y)},
            position=position.astype(np.float32),
        )

    def rollouts(self, rows: np.ndarray, count: int) -> Batch:
        x, y, actions = self.paths(rows, count, CONTEXT + HORIZON)
        return Batch({"top": self.pictures(x, y)}, actions[..., None].astype(np.float32))


def _flat(pictures: np.ndarray) -> np.ndarray:
    """[N, T, S, S, 3] of equal colours to [N * T, S, S, 3]: a reshape would copy all three."""
    grey = pictures[..., 0].reshape(-1, *pictures.shape[2:4])
    return np.broadcast_to(grey[..., None], (*grey.shape, 3))


# -- the arm ----------------------------------------------------------------------------------------

ARM_OCTANT = 7
ARM_STEPS = 5
HELD_STEPS = 3


def arm(seed: int = 0, train: int = 1200, validation: int = 300, test: int = 300, novel: int = 150) -> World:
    """The MuJoCo arm at 112 x 112: random actions, each held for 1 to 3 steps; episodes of 5 transitions from random poses.

    Probes: `seen`, the states of the test with the truth of every action, but for those from which an action leads to the
    octant of the elbow that is held out; `novel`, states inside it. One that is refused there changes nothing and is left out.
    """
    driver = MujocoArm({"holdout_octant": ARM_OCTANT}, seed)
    rng = np.random.default_rng((seed, 1))
    parts = [_walks(driver, rng, count // ARM_STEPS, ARM_STEPS) for count in (train, validation, test)]
    truths = {"seen": Truths(driver.candidates), "novel": Truths(driver.candidates)}
    for walk in parts[2]:
        for step in range(CONTEXT - 1, len(walk.states)):
            driver.restore(walk.states[step])
            if not driver.leads_there():
                span = slice(step - CONTEXT + 1, step + 1)
                truths["seen"].add(driver, walk.images[span], walk.actions[span][:-1])
    for _ in range(novel):
        driver.imagine(truths["novel"], rng, held_out=True)
    long = _walks(driver, rng, 64, CONTEXT + HORIZON - 1)
    driver.close()
    arrays = [_joined(part) for part in parts]
    return World(
        name="arm",
        cameras=(Camera("front", driver.options.size, driver.options.size),),
        actions=model_actions(driver.action_space),
        train=arrays[0],
        validation=arrays[1],
        held_out=arrays[2],
        probes={name: cut_probe(made.arrays(TIP_COLOUR), CONTEXT) for name, made in truths.items()},
        rollouts=_side_by_side(long),
    )


# -- gym-pusht --------------------------------------------------------------------------------------

PUSH_STEPS = 50
NEAR_BLOCK_PX = 60.0
SLIDE_PX = 60.0


def pusht(seed: int = 0, train: int = 60, validation: int = 8, test: int = 12, states: int = 200, size: int = 96) -> World:
    """gym-pusht, so many episodes of 50 transitions; split by episode. The probe tries 6 targets in states of the test.

    Two targets in three are near the block; half of them the disc slides to, the others it is sent to at once. The block moves
    in about a third of the transitions.
    """
    driver = Gymnasium({"env": "gym_pusht/PushT-v0", "size": [size, size]}, seed)
    world = Simulation(driver.options, seed)
    rng = np.random.default_rng((seed, 2))
    actions = model_actions(driver.action_space)
    parts = [[_push(world, rng, PUSH_STEPS) for _ in range(count)] for count in (train, validation, test)]
    truths = Truths(actions.candidates(6))
    places = [(walk, step) for walk in parts[2] for step in range(CONTEXT - 1, PUSH_STEPS)]
    for pick in rng.permutation(len(places))[:states]:
        walk, step = places[pick]
        world.restore(walk.states[step])
        truths.add(world, walk.images[step - CONTEXT + 1 : step + 1], walk.actions[step - CONTEXT + 1 : step])
    rollouts = _side_by_side([_push(world, rng, CONTEXT + HORIZON - 1) for _ in range(64)])
    world.close()
    driver.close()
    arrays = [_joined(part) for part in parts]
    return World(
        name="pusht",
        cameras=(Camera("scene", size, size),),
        actions=actions,
        train=arrays[0],
        validation=arrays[1],
        held_out=arrays[2],
        probes={"test": cut_probe(truths.arrays(AGENT_COLOUR), CONTEXT)},
        rollouts=rollouts,
    )


def _push(world: Simulation, rng: np.random.Generator, steps: int) -> "_Walk":
    """An episode; one that ends before its time is begun again."""
    while True:
        world.reset()
        walk = _Walk([world.look()], [world.save()], [])
        target, slides, left = np.zeros(2), False, 0
        aim = np.array(list(world.still.values()))
        while len(walk.actions) < steps and not world.over:
            if left == 0:
                block = world.state()[2:4]
                near = block + rng.normal(0, NEAR_BLOCK_PX, 2)
                target = np.clip(near if rng.random() < 2 / 3 else rng.uniform(0, WIDTH, 2), 0, WIDTH)
                slides, left = bool(rng.integers(2)), int(rng.integers(3, 9))
            left -= 1
            away = target - aim
            aim = aim + away * min(1.0, SLIDE_PX / max(float(np.hypot(*away)), 1e-9)) if slides else target
            world.act(aim.astype(np.float32))
            walk.actions.append(aim.astype(np.float32))
            walk.images.append(world.look())
            walk.states.append(world.save())
        if len(walk.actions) == steps:
            walk.actions.append(np.full(2, np.nan, np.float32))
            return walk


# -- walks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Walk:
    """T + 1 frames and states of a world that can be put back, T actions, the last of `actions` NaN."""

    images: list[dict[str, np.ndarray]]
    states: list[Any]
    actions: list[np.ndarray]


def _walks(driver: MujocoArm, rng: np.random.Generator, count: int, steps: int) -> list[_Walk]:
    return [_walk(driver, rng, steps) for _ in range(count)]


def _walk(driver: MujocoArm, rng: np.random.Generator, steps: int) -> _Walk:
    driver.reset()
    walk = _Walk([driver.look()], [driver.save()], [])
    left = 0
    while len(walk.actions) < steps:
        if left == 0:
            left, choice = int(rng.integers(1, HELD_STEPS + 1)), int(rng.integers(len(driver.candidates)))
        left -= 1
        if not driver.execute(driver.action_space.choices[choice]):
            left = 0
            continue
        walk.actions.append(driver.candidates[choice])
        walk.images.append(driver.look())
        walk.states.append(driver.save())
    walk.actions.append(np.full_like(driver.candidates[0], np.nan))
    return walk


def _joined(walks: list[_Walk]) -> Arrays:
    frames = {name: np.stack([images[name] for walk in walks for images in walk.images]) for name in walks[0].images[0]}
    episode = np.repeat(np.arange(len(walks)), [len(walk.images) for walk in walks])
    return Arrays(frames, np.concatenate([np.stack(walk.actions) for walk in walks]), episode, CONTEXT)


def _side_by_side(walks: list[_Walk]) -> Batch:
    """Walks of one length as windows."""
    frames = {name: np.array([[images[name] for images in walk.images] for walk in walks]) for name in walks[0].images[0]}
    return Batch(frames, np.array([walk.actions[:-1] for walk in walks], np.float32))


# -- recordings -------------------------------------------------------------------------------------

CAR_EPISODES = (151, 514, 516, 527, 651, 666)
"""Indexes of donkeycar_tub at which the drive was interrupted."""
SIZES: dict[str, tuple[int, int]] = {"g1_bottle_v30": (112, 144), "donkeycar_tub": (120, 160)}
"""Height and width of their pictures."""


def recording(name: str, folder: Path) -> World:
    """`g1_bottle_v30` or `donkeycar_tub`: the last episode (of the car: from frame 666 on) is held out.

    It is imported to `folder` unless it lies there from before. Raises StorageError, ImportProblem.
    """
    path = folder / name
    if not path.is_dir():
        _import(name, path)
    with SessionReader(path) as reader:
        robot = robot_of(reader)
        frames = Frames([reader])
        episode = _unbroken(frames)
        actions = _actions(Windows(frames, context=1))
        pictures = _pictures(frames, SIZES[name])
    held_out = frames.episode == frames.episode.max()
    parts = [
        Arrays({camera: array[part] for camera, array in pictures.items()}, actions[part], episode[part], CONTEXT)
        for part in (~held_out, held_out)
    ]
    height, width = SIZES[name]
    cameras = tuple(Camera(camera.name, height, width) for camera in model_cameras(robot.cameras))
    return World(name=name, cameras=cameras, actions=model_actions(robot.actions), train=parts[0], held_out=parts[1])


def _import(name: str, path: Path) -> None:
    if name == "donkeycar_tub":
        import_tub(recordings() / name, path, fps=20, episodes_at=CAR_EPISODES)
    else:
        import_lerobot(recordings() / name, path)


def _unbroken(frames: Frames) -> np.ndarray:
    """A number for each run of frames whose steps follow one another within an episode."""
    breaks = (np.diff(frames.step) != 1) | (np.diff(frames.episode) != 0)
    return np.concatenate([[0], breaks.cumsum()])


def _actions(windows: Windows) -> np.ndarray:
    """float32 [N, D]: the action taken after each frame, NaN where none is known."""
    actions = np.full((len(windows.frames), len(windows.names)), np.nan, np.float32)
    batch = windows.empty(1)
    for pick, frame in enumerate(windows.frame):
        windows.read(np.array([pick]), batch)
        actions[frame] = batch.actions[0, 0]
    return actions


def _pictures(frames: Frames, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """All of them, at this size."""
    import cv2

    made = {name: np.empty((len(frames), *size, 3), np.uint8) for name in frames.shapes}
    for start in range(0, len(frames), CHUNK):
        picks = np.arange(start, min(start + CHUNK, len(frames)))
        room = frames.empty(len(picks))
        frames.read(picks, room)
        for name, array in room.items():
            for pick, picture in zip(picks, array, strict=True):
                same = picture.shape[:2] == size
                made[name][pick] = picture if same else cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    return made
