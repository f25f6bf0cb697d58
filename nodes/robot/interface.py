"""What a robot driver is.

    class MyRobot:
        def __init__(self, options: dict, seed: int) -> None: ...
        def observe(self) -> Observation: ...
        def execute(self, action: Action) -> bool: ...
        ...

Name it in a launch file as `driver: my_package.my_module:MyRobot`. Drivers know nothing of messages,
steps or episodes: the robot node does.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from protocol.messages import Action, ActionSpaceInfo


class RobotError(Exception):
    """The robot cannot go on: lost, misconfigured, unreachable. One line: what, where, what to try."""


class EndOfData(Exception):
    """A driver that plays something back has come to its end."""


@dataclass(frozen=True)
class Observation:
    """What the robot sees now.

    `images`: per camera HxWx3 uint8 RGB, owned by the receiver from now on; `depth`: per camera HxW
    uint16 or float32; `state`: float32 vector.
    """

    images: dict[str, np.ndarray]
    depth: dict[str, np.ndarray] = field(default_factory=dict)
    state: np.ndarray | None = None


class Robot(Protocol):
    """A robot, real or simulated."""

    action_space: ActionSpaceInfo
    safe_action: Action
    state_names: list[str]

    def observe(self) -> Observation:
        """The newest observation; RobotError when there is none to be had."""

    def execute(self, action: Action) -> bool:
        """Do it; whether it was done."""

    def reset(self) -> None:
        """Begin a new episode."""

    def stop(self) -> None:
        """Make the robot safe, now."""

    def close(self) -> None:
        """Let go of the hardware."""


@runtime_checkable
class KnowsTruth(Protocol):
    """A simulator that can save its state can say what each action would have led to."""

    def probe(self) -> tuple[str, dict[str, np.ndarray]] | None:
        """A description, and arrays as in `protocol.messages.Probe`, of states never shown live."""


@dataclass(frozen=True)
class PlayedStep:
    """One step of something played back: observation, the action that followed it, and its place."""

    observation: Observation
    action: Action | None
    success: bool
    first: bool
    last: bool
    held_out: bool
    origin_session: str
    origin_episode: int
    marks: list[str]


@runtime_checkable
class Plays(Protocol):
    """A driver that brings its own actions and episodes: a recording."""

    info: Robot

    def next_step(self) -> PlayedStep:
        """The next step; EndOfData after the last."""


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
