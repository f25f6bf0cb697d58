"""One joint of an arm goes up, down or stays, a decision every so many steps. Pure: no clock, no bus.

A set-point is computed once a decision, from the position measured then, and kept within the joint's limits; all other
joints are held where they were when the episode began. A command is due at every step and says the same until the next
decision: when one comes too late the robot holds for that step, and goes on with the next.
"""

import hashlib
import random
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from nodes.predictor.selectors import Seen, SelectorError
from protocol.messages import Action, Robot

STAY, PLUS, MINUS = CHOICES = 0, 1, 2
DECISION, END = "decision", "decision_end"
LOGGER = "decisions"
"""How a session tells of decisions: see storage/exchange/decided.py."""


class JointOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`by`: a `sequence`, once; random; or a person's keys 0, 1, 2. `calibrated`: whether the duration was measured."""

    joint: str
    delta: float = 10.0
    action_duration_s: float = 0.5
    by: Literal["sequence", "random", "person"] = "random"
    sequence: list[int] = []
    calibrated: bool = False

    def __post_init__(self) -> None:
        if not self.delta > 0 or not self.action_duration_s > 0:
            raise ValueError(f"delta {self.delta:g}, action_duration_s {self.action_duration_s:g}: both are above 0")
        if set(self.sequence) - set(CHOICES) or (self.by == "sequence") != bool(self.sequence):
            raise ValueError("a sequence is of 0 (stay), 1 (plus), 2 (minus), and goes with by: sequence")


class JointSelector:
    """`news` is what the last `select` decided, as metrics of its frame."""

    def __init__(self, robot: Robot, options: dict[str, Any], seed: int) -> None:
        """Raises SelectorError."""
        try:
            self.options = msgspec.convert(options, JointOptions)
        except (msgspec.ValidationError, ValueError) as error:
            raise SelectorError(f"selector 'joint': {error}") from None
        names, joint = robot.actions.names, self.options.joint
        if robot.actions.discrete or set(names) - set(robot.state_names):
            raise SelectorError("selector 'joint' moves a robot whose actions are the positions of its state: mode continuous")
        if joint not in names:
            raise SelectorError(f"selector 'joint': this robot has no joint {joint!r}, it has {', '.join(names)}")
        self.news: dict[str, float] = {}
        self._places = {name: robot.state_names.index(name) for name in names}
        self._low, self._high = ((ends[names.index(joint)]) for ends in (robot.actions.low, robot.actions.high))
        self._every = max(round(self.options.action_duration_s * robot.rate_hz), 1)
        self._seed = seed
        self._episode: int | None = None
        self._goal: Action = {}
        self._decisions: Iterator[int] = iter(())
        self._due: int | None = None
        self._asked: int | None = None

    def header(self) -> dict[str, Any]:
        """The options, as the header of a discrete-action log."""
        options = self.options
        return {
            "policy_type": "simple_joint", "joint_name": options.joint, "action_duration": options.action_duration_s,
            "position_delta": options.delta, "calibrated": options.calibrated, "use_random_policy": options.by == "random",
            "action_sequence": options.sequence or None, "random_seed": self._seed,
        }  # fmt: skip

    def select(self, seen: Seen) -> Action | None:
        """The set-points of all joints after this frame. Raises SelectorError when it has no state."""
        if seen.state is None:
            raise SelectorError("selector 'joint': the robot's frames have no state")
        state = {name: float(seen.state[place]) for name, place in self._places.items()}
        self.news = {}
        if seen.episode != self._episode:
            self._begin(seen, state)
        if self._due is not None and seen.step >= self._due:
            self._decide(seen.step, state[self.options.joint])
        return dict(self._goal)

    def drive(self, index: Any) -> None:
        """A person's word: the next decision. Raises SelectorError."""
        if self.options.by != "person" or index not in CHOICES or isinstance(index, bool):
            raise SelectorError(f"there is no decision {index!r} to make: 0 stay, 1 plus, 2 minus, where a person decides")
        self._asked = index

    def _begin(self, seen: Seen, state: Action) -> None:
        self._episode, self._goal, self._asked = seen.episode, state, None
        self._decisions = self._all(seen.episode)
        # who comes back in the midst of an episode does not know what was decided in it: it is left as it is
        self._due = seen.step if seen.step < self._every else None

    def _decide(self, step: int, position: float) -> None:
        choice = next(self._decisions, None)
        if choice is None:
            self.news, self._due = {END: 1.0}, None
            return
        self.news, self._due = {DECISION: float(choice)}, step + self._every
        by = {PLUS: self.options.delta, MINUS: -self.options.delta}.get(choice, 0.0)
        self._goal[self.options.joint] = min(max(position + by, self._low), self._high)

    def _all(self, episode: int) -> Iterator[int]:
        """The decisions of an episode: drawn ones are others in each, and the same for the same seed."""
        if self.options.by == "sequence":
            yield from self.options.sequence
            return
        draws = random.Random(hashlib.sha256(f"{self._seed}/{episode}/decisions".encode()).digest())
        while True:
            if self.options.by == "random":
                yield draws.choice(CHOICES)
            else:
                asked, self._asked = self._asked, None
                yield STAY if asked is None else asked
