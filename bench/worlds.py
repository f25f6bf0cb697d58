"""Worlds to learn from and to be scored on, as arrays: straight from the drivers and the recordings, without a bus.

    world = dot(seed=0, size=64)
    learner = Learner(model_spec(world.cameras, world.actions, "small"), TrainConfig(), "cpu")
    batch = world.train.windows(rng.choice(world.train.ids(), 16))

Windows hold `CONTEXT` seen frames, for a shorter context make `Arrays` of the same arrays again: `world.with_context(2)`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from bench.learning import recordings
from nodes.robot.dot import ToroidalDot
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
