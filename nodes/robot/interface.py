"""What a robot driver is.

    class MyRobot:
        def __init__(self, options: dict, seed: int) -> None: ...
        def observe(self) -> Observation: ...
        def execute(self, action: Action) -> bool: ...
        ...

Name it in a launch file as `driver: my_package.my_module:MyRobot`. Drivers know nothing of messages,
steps or episodes: the robot node does.

All methods but one are called from one thread. `stop` is called from another one as well, at any moment: while
`execute`, `observe` or `reset` runs, before anything was executed, and again when the robot is stopped already.
It must not wait for them; an `execute` that takes long should notice it and return early:

    def execute(self, action):
        self._stopped.clear()                                    # a threading.Event
        self._motors.go(action["speed"])
        self._stopped.wait(0.5)                                  # instead of time.sleep(0.5)
        return not self._stopped.is_set()

    def stop(self):
        self._stopped.set()
        self._motors.go(0.0)

A process that is killed outright (`kill -9`, a power cut) stops nothing any more: a robot that moves on without
its computer needs a limit of its own, such as a controller that stops when it hears nothing for a moment.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from protocol.messages import Action, ActionSpaceInfo


class RobotError(Exception):
    """The robot cannot go on: lost, misconfigured, unreachable. One line: what, where, what to try."""


@dataclass(frozen=True)
class Observation:
    """What the robot sees now.

    `images`: per camera HxWx3 uint8 RGB; `depth`: per camera HxW uint16 or float32; `state`: float32 vector. All are given
    away: the node makes them read-only, so a driver needs new ones for the next observation.
    """

    images: dict[str, np.ndarray]
    depth: dict[str, np.ndarray] = field(default_factory=dict)
    state: np.ndarray | None = None


class Robot(Protocol):
    """A robot, real or simulated."""

    action_space: ActionSpaceInfo
    state_names: list[str]

    @property
    def safe_action(self) -> Action:
        """What is executed when no command comes; an attribute, or a property that knows where the robot is now."""

    def observe(self) -> Observation:
        """The newest observation; RobotError when there is none to be had."""

    def execute(self, action: Action) -> bool:
        """Do it; whether it was done."""

    def reset(self) -> None:
        """Begin a new episode."""

    def stop(self) -> None:
        """Make the robot safe, now; from any thread, at any moment, any number of times. The next `execute` moves it again."""

    def close(self) -> None:
        """Let go of the hardware."""


@runtime_checkable
class KnowsTruth(Protocol):
    """A simulator that can save its state can say what each action would have led to."""

    def probe(self) -> tuple[str, dict[str, np.ndarray]] | None:
        """A description, and arrays as in `protocol.messages.Probe`, of states never shown live."""


@runtime_checkable
class KnowsEpisode(Protocol):
    """A robot of which something holds for a whole episode, such as where a joint stands that no action moves."""

    def episode_values(self) -> dict[str, float]:
        """Asked after the `start` mark, and recorded as metrics with the episode's number."""


@runtime_checkable
class KnowsStep(Protocol):
    """A robot that can tell more of an action than what is seen after it, such as its reward."""

    def step_values(self) -> dict[str, float]:
        """Asked after each action, and recorded as metrics with its step."""


@runtime_checkable
class EndsEpisodes(Protocol):
    """A robot whose episodes end by themselves, such as a game that is over."""

    def ended(self) -> str:
        """Asked after each action: why the episode is over, in a word; empty while it goes on. A `reset` follows."""


@runtime_checkable
class Counts(Protocol):
    """A robot that counts what it made good, such as packets that had to be sent again."""

    def counts(self) -> dict[str, float]:
        """Since the beginning; part of the node's metrics."""


@dataclass(frozen=True)
class Origin:
    """Where an episode that is played back comes from."""

    session: str
    episode: int
    held_out: bool


def check_observation(seen: Observation) -> str:
    """What is wrong with an observation; empty when it is fit to be published."""
    if not seen.images:
        return "it has no image"
    for name, image in seen.images.items():
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            return f"image {name!r} is {_kind(image)}, not HxWx3 uint8"
    for name, depth in seen.depth.items():
        if not isinstance(depth, np.ndarray) or depth.dtype not in (np.uint16, np.float32) or depth.ndim != 2:
            return f"depth {name!r} is {_kind(depth)}, not HxW uint16 or float32"
    state = seen.state
    if state is not None and (not isinstance(state, np.ndarray) or state.dtype != np.float32 or state.ndim != 1):
        return f"state is {_kind(state)}, not a float32 vector"
    return ""


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def check_action(action: Action, space: ActionSpaceInfo) -> str:
    """Why `action` is not one of `space`; empty when it is."""
    if set(action) != set(space.names):
        return f"it has the names {sorted(action)}, this robot takes {sorted(space.names)}"
    if not all(isinstance(v, int | float) and np.isfinite(v) for v in action.values()):
        return "a value is not a finite number"
    if space.discrete:
        return "" if action in space.choices else f"{action} is not one of the {len(space.choices)} choices"
    for name, low, high in zip(space.names, space.low, space.high, strict=True):
        if not low <= action[name] <= high:
            return f"{name}={action[name]:g} is outside [{low:g}, {high:g}]"
    return ""


Options = dict[str, Any]
