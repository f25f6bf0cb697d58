"""What a launch file may say about a robot node."""

from typing import Any, Literal

import msgspec

from nodes.robot.limits import Limit

DEFAULT_RATE_HZ = 20.0
SILENCE_S = 1.0
NOT_REAL = ("toroidal_dot", "replay")


class RobotConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver` is `toroidal_dot`, `replay`, or `package.module:Class`; `options` are the driver's own.

    `rate_hz` is 20 when not given, for a replay the recording's own; 0 is no limit: a replay then plays as
    fast as its reliable subscribers take it. `lockstep` makes a step when a command comes; `paced` makes
    one every 1/`rate_hz` s and takes the safe action when no command came in time. An episode ends after
    `episode_steps` (0: never), the run after `steps` (0: never).

    After `silence_s` without a valid command the robot takes the safe action once, is stopped, and stands
    until commands come: 1 s for a robot of your own, and for whatever is paced; the dot and a replay in lockstep
    wait for ever. Where a person decides on each step of a robot of your own, say 0. An action, or a reset, that
    takes longer than `max_action_s` (as long as `silence_s`) is stopped. 0 is no limit. `limits` are those of the
    numbers of its actions, by name.
    """

    driver: str = "toroidal_dot"
    timing: Literal["lockstep", "paced"] = "lockstep"
    rate_hz: float | None = None
    silence_s: float | None = None
    max_action_s: float | None = None
    limits: dict[str, Limit] = {}
    episode_steps: int = 0
    steps: int = 0
    options: dict[str, Any] = {}

    def __post_init__(self) -> None:
        rate_hz = DEFAULT_RATE_HZ if self.rate_hz is None else self.rate_hz
        if rate_hz < 0 or (self.timing == "paced" and rate_hz == 0):
            raise ValueError(f"rate_hz is {rate_hz:g}; a paced robot needs a rate above 0")
        if self.episode_steps < 0 or self.steps < 0:
            raise ValueError("episode_steps and steps are counts; 0 means no limit")
        if self.limits and self.driver == "replay":
            raise ValueError("a replay executes nothing: it has no limits")
        if (self.silence_s or 0) < 0 or (self.max_action_s or 0) < 0:
            raise ValueError("silence_s and max_action_s are seconds; 0 means no limit")

    @property
    def silence_limit_s(self) -> float:
        if self.silence_s is not None:
            return self.silence_s
        return SILENCE_S if self.timing == "paced" or self.driver not in NOT_REAL else 0.0

    @property
    def action_limit_s(self) -> float:
        return self.silence_limit_s if self.max_action_s is None else self.max_action_s

    @property
    def on_full(self) -> Literal["block", "count"]:
        """A real robot never waits for its subscribers: it drops and counts. The dot and a replay wait, in any timing.

        A simulation of your own waits when its launch file says `on_full: block`.
        """
        return "block" if self.driver in NOT_REAL else "count"

    def problem(self) -> str:
        """What can be known to be wrong before anything is started; empty when nothing is."""
        from nodes.robot.drivers import unknown

        if self.driver != "replay" or "session" not in self.options:
            return unknown(self.driver)
        from storage.errors import StorageError
        from storage.paths import find_session, sessions_root

        try:
            find_session(sessions_root(self.options.get("root")), str(self.options["session"]))
        except StorageError as error:
            return str(error)
        return ""


def bytes_per_step(params: dict[str, Any]) -> int | None:
    """Raw bytes of a step's frames, where the options tell them; for estimates before a run."""
    options = params.get("options", {})
    if params.get("driver", "toroidal_dot") != "toroidal_dot" or not isinstance(options, dict):
        return None
    size = options.get("size", 224)
    return int(size) ** 2 * 3 if isinstance(size, int) else None
