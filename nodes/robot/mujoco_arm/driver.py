"""A simulated arm of three joints that stands alone on a plain: what a real arm owes, and the truth of every action besides."""

from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import numpy as np

from nodes.robot.interface import Observation, Options, RobotError
from nodes.robot.mujoco_arm.physics import ELBOW, JOINTS, TIP_COLOUR, FloatArray, Images, Physics
from nodes.robot.truth import HISTORY, Truths, Vector
from protocol.messages import Action, ActionSpaceInfo

OCTANTS = 8
DRAWS = 10_000

CameraName = Literal["front", "side", "wrist"]


class ArmOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`cameras` by name, each `size` x `size` pixels. An action moves one joint by `delta` radians, or none, and takes
    `settle_s` of simulated time.

    `holdout_octant`, 0 to 7, is an eighth of the elbow's range that is never shown live: no episode begins there, and an action
    that would lead there is undone and counts as not carried out. `probe_states`: how many states are tried with every action.
    """

    cameras: tuple[CameraName, ...] = ("front",)
    size: Annotated[int, msgspec.Meta(ge=16, le=1024)] = 112
    delta: float = 0.2
    settle_s: float = 0.5
    holdout_octant: Annotated[int, msgspec.Meta(ge=0, lt=OCTANTS)] | None = None
    probe_states: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 64

    def __post_init__(self) -> None:
        if not self.cameras or len(set(self.cameras)) != len(self.cameras):
            raise ValueError("cameras: name at least one, each once, of front, side, wrist")
        if not 0 < self.delta <= 1 or not 0 < self.settle_s <= 10:
            raise ValueError(f"delta is {self.delta:g} and settle_s {self.settle_s:g}: give at most 1 rad and 10 s, above 0")


class MujocoArm:
    """Nothing of it is random but where an episode begins, which the seed decides."""

    def __init__(self, options: Options, seed: int) -> None:
        """Raises RobotError when nothing can be drawn here."""
        self.options = o = msgspec.convert(options, ArmOptions)
        self._seed = seed % 2**32
        self._random = np.random.default_rng((self._seed, 0))
        self._physics = Physics(o.cameras, o.size)
        self._closed = False
        moves = [dict.fromkeys(JOINTS, 0.0)]
        moves += [{**moves[0], joint: by} for joint in JOINTS for by in (o.delta, -o.delta)]
        self.action_space = ActionSpaceInfo(names=list(JOINTS), choices=moves)
        self.safe_action: Action = dict(moves[0])
        self.state_names = [*JOINTS, "tip_x", "tip_y", "tip_z"]
        self.reset()

    def observe(self) -> Observation:
        self._check_open()
        state = np.concatenate([self._physics.joints, self._physics.tip]).astype(np.float32)
        return Observation(images=self._physics.look(), state=state)

    def execute(self, action: Action) -> bool:
        """False, and nothing has changed, when it would lead to what is held out."""
        self._check_open()
        before = self._physics.save()
        self.act(np.array([action[joint] for joint in JOINTS], np.float32))
        if self.held_out():
            self._physics.restore(before)
            return False
        return True

    def reset(self) -> None:
        """Any pose that is not held out."""
        self._check_open()
        self._stand(self._random, lambda: not self.held_out())

    def stop(self) -> None:
        """An action is over before anybody could stop it: it takes a few milliseconds, and nothing moves in between."""

    def close(self) -> None:
        """Nothing to let go of but what it draws with; it shows nothing any more."""
        if not self._closed:
            self._closed = True
            self._physics.close()

    def probe(self) -> tuple[str, dict[str, np.ndarray]] | None:
        """Poses with a random past and what every action leads to; half of them held out, where anything is."""
        count = self.options.probe_states
        if not count:
            return None
        live = self._physics.save()
        random = np.random.default_rng((self._seed, 1))
        octant = self.options.holdout_octant
        novel = [place < count // 2 for place in range(count)] if octant is not None else [False] * count
        truths = Truths(self.candidates)
        for held_out in novel:
            self.imagine(truths, random, held_out)
        self._physics.restore(live)
        arrays = truths.arrays(TIP_COLOUR)
        if octant is None:
            return "random poses of their own", arrays
        arrays["novel"] = np.array(novel, np.uint8)
        return f"poses with the elbow in octant {octant}, never shown live, and as many outside", arrays

    # -- a world that can be put back -----------------------------------------------------------------

    @property
    def candidates(self) -> Vector:
        """Every action, float32 [7, 3]."""
        return np.array([[choice[joint] for joint in JOINTS] for choice in self.action_space.choices], np.float32)

    def save(self) -> FloatArray:
        return self._physics.save()

    def restore(self, saved: FloatArray) -> None:
        self._physics.restore(saved)

    def act(self, action: Vector) -> None:
        self._physics.move(action.astype(np.float64), self.options.settle_s)

    def look(self) -> Images:
        return self._physics.look()

    def marker(self) -> tuple[float, float] | None:
        return self._physics.pixel()

    def held_out(self) -> bool:
        """Whether the elbow is where nothing is shown live."""
        octant = self.options.holdout_octant
        low, high = self._physics.low[ELBOW], self._physics.high[ELBOW]
        place = OCTANTS * (self._physics.joints[ELBOW] - low) / (high - low)
        return octant is not None and min(max(int(place), 0), OCTANTS - 1) == octant

    def imagine(self, truths: Truths, random: np.random.Generator, held_out: bool) -> None:
        """Add a state with a random past: held out, or nothing of it and of what it leads to."""
        for _ in range(DRAWS):
            self._stand(random, lambda: self.held_out() == held_out)
            past = self.candidates[random.integers(len(self.candidates), size=HISTORY - 1)]
            way, seen = [self.save()], [self.held_out()]
            for action in past:
                self.act(action)
                way.append(self.save())
                seen.append(self.held_out())
            if seen[-1] if held_out else not any(seen) and not self.leads_there():
                truths.add(self, [self._shown(state) for state in way], list(past))
                return
        raise RobotError("no such pose was found: choose another holdout_octant, or a smaller delta")

    def _shown(self, state: FloatArray) -> Images:
        """The world is left there."""
        self.restore(state)
        return self.look()

    def leads_there(self) -> bool:
        """Whether any action leads to what is held out."""
        if self.options.holdout_octant is None:
            return False
        before = self.save()
        found = False
        for action in self.candidates:
            self.act(action)
            found |= self.held_out()
            self.restore(before)
        return found

    def _stand(self, random: np.random.Generator, fits: Callable[[], bool]) -> None:
        """Stand still in a random pose that fits."""
        for _ in range(DRAWS):
            self._physics.place(random.uniform(self._physics.low, self._physics.high))
            if fits():
                return
        raise RobotError("no pose to begin in was found")

    def _check_open(self) -> None:
        if self._closed:
            raise RobotError("it is closed; make another one")
