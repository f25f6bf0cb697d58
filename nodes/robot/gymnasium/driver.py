"""Any environment of gymnasium, by its id: `driver: gymnasium:CartPole-v1`, or `gymnasium:gym_pusht/PushT-v0`."""

import logging

import msgspec
import numpy as np

from nodes.robot.gymnasium import pusht
from nodes.robot.gymnasium.options import GymnasiumOptions
from nodes.robot.gymnasium.simulation import Simulation
from nodes.robot.interface import Observation, Options, RobotError, check_action
from nodes.robot.truth import HISTORY, Images, Truths, Vector
from nodes.worlds import model_actions, to_vector
from protocol.messages import Action

HELD_STEPS = 5
TRIALS = 3
MOST_BYTES = 64 << 20
"""Of a probe's pictures: of large ones there are fewer states."""

log = logging.getLogger(__name__)


class Gymnasium:
    """Where an episode begins, and whatever else is random, is decided by the seed."""

    def __init__(self, options: Options, seed: int) -> None:
        """Raises RobotError, or ValueError for options that cannot be."""
        self.options = o = msgspec.convert(options, GymnasiumOptions)
        self._seed = seed % 2**31
        self._world = Simulation(o, self._seed)
        self._closed = False
        self.action_space = self._world.actions.info
        self.state_names = self._world.state_names
        if o.safe_action is not None and (wrong := check_action(o.safe_action, self.action_space)):
            raise ValueError(f"safe_action: {wrong}")

    @property
    def safe_action(self) -> Action:
        return dict(self.options.safe_action or self._world.still)

    def observe(self) -> Observation:
        self._check_open()
        return Observation(images=self._world.look(), state=self._world.state())

    def execute(self, action: Action) -> bool:
        """One whose episode is over, and that nobody has reset, begins a new one first."""
        self._check_open()
        if self._world.over:
            self._world.reset()
        self._world.act(to_vector(action, self.action_space.names))
        return True

    def reset(self) -> None:
        self._check_open()
        self._world.reset()

    def ended(self) -> str:
        """`terminated` or `truncated` once the environment says so; empty before."""
        return self._world.over

    def step_values(self) -> dict[str, float]:
        """Of the action that was executed last."""
        return {"reward": self._world.reward}

    def stop(self) -> None:
        """Nothing moves by itself."""

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._world.close()

    def probe(self) -> tuple[str, dict[str, np.ndarray]] | None:
        """States of an environment of its own, each with a random past and what every candidate leads to; None where none can be."""
        count = self.options.probe_states
        if not count:
            return None
        candidates = model_actions(self.action_space).candidates(self.options.candidates)
        random = np.random.default_rng((self._seed, 1))
        world = Simulation(self.options, self._seed + 2**31)
        try:
            truths = Truths(candidates)
            if why := cannot_go_back(world, candidates):
                log.info("no probe: %s", why)
                return None
            picture_bytes = sum(image.nbytes for image in world.look().values())
            count = max(1, min(count, MOST_BYTES // (picture_bytes * (HISTORY + len(candidates)))))
            while len(truths) < count:
                self.imagine(truths, world, random)
        except RobotError as error:
            log.info("no probe: %s", error)
            return None
        finally:
            world.close()
        return "states of an episode of their own, never shown live", truths.arrays(pusht.AGENT_COLOUR)

    def imagine(self, truths: Truths, world: Simulation, random: np.random.Generator) -> None:
        """Add a state that some random actions lead to, each held for a few steps."""
        wanted = HISTORY - 1 + int(random.integers(HELD_STEPS))
        history, past = list[Images](), list[Vector]()
        while len(past) < wanted:
            action = self._random_action(random)
            for _ in range(min(int(random.integers(1, HELD_STEPS + 1)), wanted - len(past))):
                if wanted - len(past) < HISTORY:
                    history.append(world.look())
                world.act(action)
                if world.over:
                    world.reset()
                    return
                past.append(action)
        truths.add(world, [*history, world.look()], past[-HISTORY + 1 :])

    def _random_action(self, random: np.random.Generator) -> Vector:
        info = self.action_space
        if info.discrete:
            return to_vector(info.choices[random.integers(len(info.choices))], info.names)
        return random.uniform(info.low, info.high).astype(np.float32)

    def _check_open(self) -> None:
        if self._closed:
            raise RobotError("it is closed; make another one")


def cannot_go_back(world: Simulation, candidates: Vector) -> str:
    """Why this environment cannot be put back exactly as it was; empty when it can, by trial."""
    for action in candidates[:TRIALS]:
        saved, before = world.save(), world.look()
        shown = []
        for _ in range(2):
            world.restore(saved)
            if not _same(world.look(), before):
                return "the environment cannot be put back: its picture was another"
            world.act(action)
            shown.append(world.look())
            world.act(action)
            shown.append(world.look())
        if not (_same(shown[0], shown[2]) and _same(shown[1], shown[3])):
            return "the environment cannot be put back exactly: the same action led to another picture"
        if world.over:
            world.reset()
    return ""


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)
