"""A driver on trial: it lives on a thread of its own, what it showed is kept, and it can be interrupted."""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal

import msgspec
import numpy as np

from nodes.robot.bodies import frame_arrays
from nodes.robot.contract.hands import Broken, Hands, Hung
from nodes.robot.interface import Observation, Robot, RobotError, check_observation
from protocol.messages import Action, ActionSpaceInfo

STOP_S = 0.5
"""So long a `stop` may take, and what it cuts short may go on."""
LOOKS = 20

Outcome = Literal["ok", "failed", "not checked"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is checked. `limit_s`: a call that takes longer hangs. `moves`: whether the robot may be moved."""

    driver: str
    options: dict[str, Any] = {}
    seed: int = 0
    max_action_s: float = 1.0
    limit_s: float = 10.0
    moves: bool = True


class Finding(msgspec.Struct, frozen=True):
    """What became of one check: in one line, what was found, or what is wrong and what to do."""

    name: str
    outcome: Outcome
    text: str


class Failed(Exception):
    """A check has failed; the message is its line."""


class NotChecked(Exception):
    """A check could not be made; the message says why."""


class Trial:
    """What the checks of one driver share; see `nodes/robot/contract/checks.py`."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.timing: dict[str, float] = {}
        self.hands = Hands(wanted.limit_s)
        self.driver: Robot | None = None
        self.space: ActionSpaceInfo | None = None
        self.seen: list[tuple[Observation, dict[str, np.ndarray]]] = []
        self.executed: list[tuple[Action, bool, float]] = []
        self.safe: Action | None = None
        self.reset_s = 0.0
        self.fills_again = False
        self.sees = self.stops = False
        """Whether it passed the checks `observe` and `stop first`."""
        self.hung = False

    @property
    def robot(self) -> Robot:
        if self.driver is None:
            raise NotChecked("there is no driver")
        return self.driver

    def attribute(self, name: str) -> Any:
        """What an attribute, or a property, of the driver holds now."""
        return self.hands.call(name, getattr, self.robot, name)

    @property
    def actions(self) -> ActionSpaceInfo:
        if self.space is None:
            raise NotChecked("'action space' comes first")
        return self.space

    @property
    def safe_action(self) -> Action:
        if self.safe is None:
            raise NotChecked("'safe action' comes first")
        return dict(self.safe)

    def must_move(self) -> None:
        if not self.wanted.moves:
            raise NotChecked("the robot was not to be moved")
        if not self.stops:
            raise NotChecked("it is not moved while it cannot be stopped: 'stop first' comes first")

    def must_see(self) -> None:
        if not self.sees:
            raise NotChecked("'observe' comes first")

    def look(self) -> Observation:
        """One observation, made read-only as the robot node does; kept, with a copy of what it held."""
        seen = self._observe()
        if wrong := check_observation(seen):
            raise Failed(f"bad observation: {wrong}")
        for array in frame_arrays(seen).values():
            array.setflags(write=self.fills_again and array.flags.writeable)
        if len(self.seen) < 2 * LOOKS:
            self.seen.append((seen, {name: array.copy() for name, array in frame_arrays(seen).items()}))
        return seen

    def _observe(self) -> Observation:
        """A driver that fills what it gave away is noticed, and let go on, for the sake of the other checks."""
        try:
            seen: Observation = self.hands.call("observe", self.robot.observe)
        except Broken as error:
            if "read-only" not in str(error) or self.fills_again:
                raise
            self.fills_again = True
            for array in (array for old, _ in self.seen for array in frame_arrays(old).values()):
                with suppress(ValueError):  # a view of what is read-only
                    array.setflags(write=True)
            seen = self.hands.call("observe", self.robot.observe)
        return seen

    def stop(self) -> None:
        """Stop, from a thread of its own."""
        took_s = self.hands.stop(STOP_S)
        if took_s > STOP_S:
            text = f"stop came back after {took_s:.2f} s, the limit is {STOP_S:g} s"
            raise Failed(f"{text}; it must wait for nothing, such as a lock that execute holds")

    def interrupt(self, what: str, usual_s: float, *args: Any) -> str:
        """Stop while the driver is busy: stop comes back at once, and what it interrupts ends."""
        busy = self.hands.begin(what, getattr(self.robot, what), *args)
        time.sleep(min(usual_s / 4, 0.1))
        begin_s = time.monotonic()
        try:
            self.stop()
            begin_s = time.monotonic()
        finally:
            try:
                busy.result()
            except RobotError:
                if what != "observe":  # who is stopped has perhaps nothing to show
                    raise
        late_s = time.monotonic() - begin_s
        if late_s > STOP_S:
            advice = "wait with threading.Event.wait(seconds), which stop sets, not with time.sleep"
            raise Failed(f"{what} went on for {late_s:.2f} s after stop, the limit is {STOP_S:g} s; {advice}")
        return f"stop comes back, and {what} ends"

    def abandon(self) -> None:
        """Stop the robot once more, whatever becomes of it."""
        if self.driver is not None:
            with suppress(Hung, Broken, RobotError):
                self.hands.stop(STOP_S)


def shapes(seen: Observation) -> dict[str, str]:
    return {name: f"{'x'.join(map(str, array.shape))} {array.dtype}" for name, array in frame_arrays(seen).items()}


def pictures(seen: Observation) -> Iterator[str]:
    for name, image in seen.images.items():
        yield f"{name} {image.shape[1]}x{image.shape[0]}"


def words(action: Action) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in action.items()) or "nothing"


def line(error: Exception) -> str:
    return " ".join(str(error).split())
