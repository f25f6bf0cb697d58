"""What a launch file may say about a robot node."""

from typing import Any, Literal

import msgspec

from nodes.robot.limits import Limit

DEFAULT_RATE_HZ = 20.0
SILENCE_S = 1.0
REPLAY = "replay"
ARMS = ("so101", "lerobot")
GYMNASIUM = "gymnasium:"
NOT_REAL = ("toroidal_dot", "mujoco_arm", REPLAY)

Place = float | str
"""Of a recording: seconds since its first frame by its wall clock, or `EPISODE/STEP`."""


class ReplayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is played, and how, by `driver: replay`.

    `session` by name under `root`, or by path. `rate`: how many times as fast as it was captured; 0: as fast as
    recorder and trainer take it. It begins at `start`, ends after the last frame at or before `until`, and begins
    again with `loop`; `paused`: it waits for step or resume. `episodes`: only these. `action`: only transitions whose action fulfils
    every condition, as in `speed>0.2, turn=0`. `hold_out`: auto, none, or a list of recorded episodes.

    `exact`: every recorded message of every topic, bit for bit, for a recorder to `copy`; all of it, once.
    """

    session: str
    root: str | None = None
    rate: float = 1.0
    start: Place = 0.0
    until: Place | None = None
    episodes: list[int] = []
    action: str = ""
    loop: bool = False
    paused: bool = False
    hold_out: Literal["auto", "none"] | list[int] = "auto"
    exact: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.rate <= 1e6:
            raise ValueError(f"rate is {self.rate:g}; give how many times as fast as recorded, 0 for as fast as possible")
        for place in (self.start, self.until or 0.0):
            check_place(place)
        parts = self.start, self.until, self.episodes, self.action, self.loop, self.hold_out
        if self.exact and parts != (0.0, None, [], "", False, "auto"):
            raise ValueError("exact plays all of a session, once: it goes with rate and paused alone")


def check_place(place: Place) -> None:
    """ValueError when it is none."""
    if isinstance(place, str):
        episode_and_step(place)
    elif not 0 <= place < 1e9:
        raise ValueError(f"{place:g} is no place in a recording: give seconds from its first frame, or EPISODE/STEP")


def episode_and_step(place: str) -> tuple[int, int]:
    """Of `EPISODE/STEP`."""
    episode, _, step = place.partition("/")
    if not (episode.isdecimal() and step.isdecimal()):
        raise ValueError(f"{place!r} is no place in a recording: give seconds from its first frame, or EPISODE/STEP such as 3/0")
    return int(episode), int(step)


def given(named: dict[str, Any]) -> dict[str, Any]:
    """Without what is null."""
    return {name: value for name, value in named.items() if value is not None}


def not_real(driver: str) -> bool:
    """Whether nothing moves but in a simulation or a recording."""
    return driver in NOT_REAL or driver.startswith(GYMNASIUM)


class RobotConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`driver` is `toroidal_dot`, `mujoco_arm`, `gymnasium:ENV_ID`, `replay`, or `package.module:Class`; `options` are the
    driver's own. `named` are those of them that a launch file has args for; null is not given.

    `rate_hz` is 20 when not given; 0 is no limit. `lockstep` makes a step when a command comes; `paced` makes
    one every 1/`rate_hz` s and takes the safe action when no command came in time. An episode ends after
    `episode_steps` (0: never), the run after `steps` (0: never), or after so many `episodes` that were not discarded (0: never).
    Between two episodes nothing is done for `between_s`, for a person to set the scene.

    After `silence_s` without a valid command the robot takes the safe action once, is stopped, and stands
    until commands come: 1 s for a robot of your own, and for whatever is paced; simulations and a replay in lockstep
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
    episodes: int = 0
    between_s: float = 0.0
    options: dict[str, Any] = {}
    named: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if twice := sorted(self.options.keys() & given(self.named).keys()):
            raise ValueError(f"{twice[0]} is given twice, among the options and by itself: give it once")
        rate_hz = DEFAULT_RATE_HZ if self.rate_hz is None else self.rate_hz
        if rate_hz < 0 or (self.timing == "paced" and rate_hz == 0):
            raise ValueError(f"rate_hz is {rate_hz:g}; a paced robot needs a rate above 0")
        if min(self.episode_steps, self.steps, self.episodes) < 0:
            raise ValueError("episode_steps, steps and episodes are counts; 0 means no limit")
        if not 0 <= self.between_s < 1e6:
            raise ValueError(f"between_s is {self.between_s:g}; give seconds, 0 or more")
        if self.driver == REPLAY:
            self._check_replay()
        if (self.silence_s or 0) < 0 or (self.max_action_s or 0) < 0:
            raise ValueError("silence_s and max_action_s are seconds; 0 means no limit")

    def _check_replay(self) -> None:
        if self.limits:
            raise ValueError("a replay executes nothing: it has no limits")
        if self.rate_hz is not None or self.steps or self.episode_steps or self.episodes or self.between_s:
            raise ValueError("a replay has the recording's own times, steps and episodes: see rate, until and episodes of its options")

    @property
    def driver_options(self) -> dict[str, Any]:
        """What the driver is made with."""
        return {**self.options, **given(self.named)}

    @property
    def silence_limit_s(self) -> float:
        if self.silence_s is not None:
            return self.silence_s
        return SILENCE_S if self.timing == "paced" or not not_real(self.driver) else 0.0

    @property
    def action_limit_s(self) -> float:
        return self.silence_limit_s if self.max_action_s is None else self.max_action_s

    @property
    def on_full(self) -> Literal["block", "count"]:
        """A real robot never waits for its subscribers: it drops and counts. Simulations and a replay wait, in any timing.

        A simulation of your own waits when its launch file says `on_full: block`.
        """
        return "block" if not_real(self.driver) else "count"

    def replay_options(self) -> ReplayOptions:
        """The options of `driver: replay`; ValueError, msgspec's own among them, when they are none."""
        return msgspec.convert(self.options, ReplayOptions)

    def problem(self) -> str:
        """What can be known to be wrong before anything is started; empty when nothing is."""
        if self.driver in ARMS:
            from nodes.robot.arm.options import problem

            return problem(self.driver, self.options)
        if self.driver != REPLAY:
            from nodes.robot.drivers import unknown

            return unknown(self.driver)
        from storage.errors import StorageError
        from storage.paths import find_session, sessions_root

        try:
            options = self.replay_options()
            find_session(sessions_root(options.root), options.session)
        except (ValueError, StorageError) as error:
            return str(error)
        return ""


def bytes_per_step(params: dict[str, Any]) -> int | None:
    """Raw bytes of a step's frames, where the options tell them; for estimates before a run."""
    options, named = params.get("options", {}), params.get("named", {})
    if params.get("driver", "toroidal_dot") != "toroidal_dot" or not isinstance(options, dict) or not isinstance(named, dict):
        return None
    size = given({"size": 224, **options, **given(named)}).get("size")
    return int(size) ** 2 * 3 if isinstance(size, int) else None
