"""Does a driver keep the contract of `nodes/robot/interface.py`? Each check has a name and says what to do.

    for finding in Contract(Wanted(driver="my_robots.wheels:Wheels")).run(lambda name: None): ...

The driver lives on one thread, as in the robot node; `stop` comes from others. A check that fails leaves the others their
say, where they still can be made. A driver that hangs cannot be taken back: `run` ends there, and so should the process.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal

import msgspec
import numpy as np

from nodes.robot.bodies import frame_arrays
from nodes.robot.core import CommandGate
from nodes.robot.drivers import make_driver, unknown
from nodes.robot.hands import Broken, Hands, Hung
from nodes.robot.interface import Observation, Robot, RobotError, check_action, check_observation
from nodes.robot.limits import Limits
from nodes.robot.sampling import actions_to_try
from protocol.messages import Action, ActionSpaceInfo, Command

STOP_S = 0.5
"""So long a `stop` may take, and what it cuts short may go on."""
LOOKS = 20
NAMES = (
    "options", "load", "members", "action space", "safe action", "stop first", "observe", "state", "execute", "action time", "refused",
    "reset", "same shapes", "new arrays", "colours", "stop while execute", "stop while observe", "stop while reset", "goes on", "close",
    "closed",
)  # fmt: skip
"""The checks, in order."""
FIRST = ("load", "members", "action space")
"""Without these nothing else can be checked."""
MEMBERS = ("action_space", "safe_action", "state_names", "observe", "execute", "reset", "stop", "close")
UNKNOWN = "no_such_option"

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


class Contract:
    """The checks of one driver, in order."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.timing: dict[str, float] = {}
        self._hands = Hands(wanted.limit_s)
        self._driver: Robot | None = None
        self._space: ActionSpaceInfo | None = None
        self._seen: list[tuple[Observation, dict[str, np.ndarray]]] = []
        self._executed: list[tuple[Action, bool, float]] = []
        self._reset_s = 0.0
        self._hung = False

    def run(self, begin: Callable[[str], None]) -> Iterator[Finding]:
        """Make every check; `begin` is told of each before it is made. The robot is stopped at the end, also when it hangs."""
        why = ""
        for name in NAMES:
            begin(name)
            finding = Finding(name, "not checked", why) if why and name != "close" else self._make_check(name)
            yield finding
            if self._hung:
                why = "the driver hangs"
                break
            if finding.outcome == "failed" and name in FIRST:
                why = f"'{name}' comes first"
        if self._hung:
            self.abandon()
            yield from (Finding(rest, "not checked", why) for rest in NAMES[NAMES.index(name) + 1 :])

    def _make_check(self, name: str) -> Finding:
        try:
            return Finding(name, "ok", getattr(self, f"_check_{name.replace(' ', '_')}")())
        except NotChecked as why:
            return Finding(name, "not checked", str(why))
        except Hung as hung:
            self._hung = True
            return Finding(name, "failed", _line(hung))
        except (Failed, Broken, RobotError) as error:
            return Finding(name, "failed", _line(error))

    def abandon(self) -> None:
        """Stop the robot once more, whatever becomes of it."""
        if self._driver is not None:
            with suppress(Hung, Broken, RobotError):
                self._hands.stop(STOP_S)

    @property
    def _robot(self) -> Robot:
        if self._driver is None:
            raise NotChecked("there is no driver")
        return self._driver

    def _attribute(self, name: str) -> Any:
        """What an attribute, or a property, of the driver holds now."""
        return self._hands.call(name, getattr, self._robot, name)

    @property
    def _actions(self) -> ActionSpaceInfo:
        if self._space is None:
            raise NotChecked("'action space' comes first")
        return self._space

    def _must_move(self) -> None:
        if not self.wanted.moves:
            raise NotChecked("the robot was not to be moved")

    # -- made, with its options ---------------------------------------------------------------------

    def _make(self, options: dict[str, Any]) -> Robot:
        driver: Robot = self._hands.call("the constructor", make_driver, self.wanted.driver, options, self.wanted.seed)
        return driver

    def _check_options(self) -> str:
        options = {**self.wanted.options, UNKNOWN: 1}
        try:
            driver = self._make(options)
        except RobotError as error:
            if unknown(self.wanted.driver) or "cannot be loaded" in str(error):
                raise NotChecked("'load' comes first") from None
            if "\n" in str(error):
                raise Failed("it refuses an unknown option in several lines; raise ValueError with one") from None
            return "an unknown option is refused in one line"
        self._hands.call("close", getattr(driver, "close", int))
        advice = "decode them with msgspec.convert(options, MyOptions), MyOptions being a Struct with forbid_unknown_fields=True"
        raise Failed(f"it takes an option that it does not know: a slip in a launch file would go unnoticed; {advice}")

    def _check_load(self) -> str:
        self._driver = self._make(dict(self.wanted.options))
        self._hands.driver = self._driver
        return f"{type(self._driver).__name__} is made"

    def _check_members(self) -> str:
        missing = [name for name in MEMBERS if not self._hands.call(name, hasattr, self._robot, name)]
        missing += [f"{name}()" for name in MEMBERS[3:] if name not in missing and not callable(getattr(self._robot, name))]
        if missing:
            raise Failed(f"it has no {', '.join(missing)}; see nodes/robot/interface.py")
        return "all attributes and methods are there"

    def _check_action_space(self) -> str:
        space = self._attribute("action_space")
        if wrong := wrong_with_space(space):
            raise Failed(f"action_space: {wrong}")
        self._space = space
        return f"{len(space.choices)} choices" if space.discrete else f"{len(space.names)} numbers: {', '.join(space.names)}"

    def _check_safe_action(self) -> str:
        safe = dict(self._attribute("safe_action"))
        if wrong := check_action(safe, self._actions):
            raise Failed(f"safe_action {safe} is not one of its actions: {wrong}")
        return _words(safe)

    def _check_stop_first(self) -> str:
        """Before anything else, and again."""
        self._stop()
        self._stop()
        return "stop comes back, before anything was executed and twice"

    # -- what it sees -----------------------------------------------------------------------------

    def _look(self) -> Observation:
        """One observation; kept, with a copy of what it held."""
        seen: Observation = self._hands.call("observe", self._robot.observe)
        if wrong := check_observation(seen):
            raise Failed(f"bad observation: {wrong}")
        if len(self._seen) < 2 * LOOKS:
            self._seen.append((seen, {name: array.copy() for name, array in frame_arrays(seen).items()}))
        return seen

    def _check_observe(self) -> str:
        times = []
        for _ in range(LOOKS):
            begin_s = time.monotonic()
            self._look()
            times.append(time.monotonic() - begin_s)
        p50, p99 = (float(np.percentile(times, share)) * 1000 for share in (50, 99))
        self.timing |= {"observe_p50_ms": p50, "observe_p99_ms": p99}
        return f"{', '.join(_pictures(self._first))}; takes {p50:.1f} ms, p99 {p99:.1f} ms"

    @property
    def _first(self) -> Observation:
        if not self._seen:
            raise NotChecked("'observe' comes first")
        return self._seen[0][0]

    def _check_state(self) -> str:
        state, names = self._first.state, self._attribute("state_names")
        length = 0 if state is None else len(state)
        if not isinstance(names, list) or not all(type(name) is str and name for name in names):
            raise Failed(f"state_names is {names!r}, not a list of names")
        if len(names) != length:
            raise Failed(f"{len(names)} state_names for a state of {length} numbers")
        if state is not None and not np.isfinite(state).all():
            raise Failed(f"the state holds what is no finite number: {state.tolist()}")
        return ", ".join(names) or "no state"

    def _check_same_shapes(self) -> str:
        first = _shapes(self._first)
        for seen, _ in self._seen:
            if _shapes(seen) != first:
                raise Failed(f"observations differ: first {first}, later {_shapes(seen)}; give the same cameras and sizes each time")
        return f"the same in {len(self._seen)} looks"

    def _check_new_arrays(self) -> str:
        advice = "make new ones for each observation, such as image.copy()"
        if len(self._seen) < 2:
            raise NotChecked("'observe' comes first")
        kept = [(frame_arrays(seen), copies) for seen, copies in self._seen]
        for number, (before, copies) in enumerate(kept):
            for name, array in before.items():
                if any(np.may_share_memory(array, other) for after, _ in kept[number + 1 :] for other in after.values()):
                    raise Failed(f"{name} lies in the same memory in two observations; {advice}")
                if not np.array_equal(array, copies[name], equal_nan=array.dtype.kind == "f"):
                    raise Failed(f"{name} changed after it was given away; {advice}")
        return "each observation has arrays of its own"

    def _check_colours(self) -> str:
        for name in self._first.images:
            images = [seen.images[name] for seen, _ in self._seen if name in seen.images]
            values = np.flatnonzero(sum(np.bincount(image.reshape(-1), minlength=256) for image in images))
            if len(values) == 1:
                raise Failed(f"camera {name} shows nothing but {values[0]}: is its lens covered, or is it not read?")
            if values[-1] <= 1:
                raise Failed(f"camera {name} gives 0 and 1 only: multiply by 255 before astype(np.uint8)")
        return "pictures have contrast; whether red is red, `toddle robot try` shows"

    # -- what it does -------------------------------------------------------------------------------

    def _check_execute(self) -> str:
        self._must_move()
        for action in actions_to_try(self._actions, dict(self._attribute("safe_action")), self.wanted.seed):
            begin_s = time.monotonic()
            done = self._hands.call("execute", self._robot.execute, dict(action))
            self._executed.append((action, bool(done), time.monotonic() - begin_s))
            if not isinstance(done, bool | np.bool_):
                raise Failed(f"execute returned {done!r} for {_words(action)}, not True (done) or False")
            self._look()
        took = [seconds * 1000 for _, _, seconds in self._executed]
        self.timing |= {f"execute {_words(action)} ms": seconds * 1000 for action, _, seconds in self._executed}
        failed = sum(not done for _, done, _ in self._executed)
        not_done = f", {failed} of them not done" if failed else ""
        return f"{len(took)} actions{not_done}; one takes {min(took):.1f} to {max(took):.1f} ms"

    def _check_action_time(self) -> str:
        action, _, seconds = max(self._longest(), key=lambda one: one[2])
        limit_s = self.wanted.max_action_s
        if seconds > limit_s:
            text = (
                f"{_words(action)} takes {seconds:.2f} s: a launch file stops it after {limit_s:g} s unless it gives a longer max_action_s"
            )
            raise Failed(f"{text}; check with --max-action-s then")
        look_s = self.timing.get("observe_p99_ms", 0.0) / 1000
        return f"within {limit_s:g} s; up to {min(1 / max(seconds + look_s, 1e-3), 1000):.0f} steps a second"

    def _longest(self) -> list[tuple[Action, bool, float]]:
        self._must_move()
        if not self._executed:
            raise NotChecked("'execute' comes first")
        return self._executed

    def _check_refused(self) -> str:
        """What the node does with commands that are no actions: nothing of them reaches the driver."""
        space, safe = self._actions, dict(self._attribute("safe_action"))
        name = space.names[0]
        bad: list[Action] = [{**safe, name: math.nan}, {**safe, name: math.inf}, {**safe, "no such name": 0.0}, {}]
        bad.append({**safe, name: 1e300})
        gate = CommandGate(space, Limits({}, space, safe))
        for action in bad:
            command = Command(action=action, by="check", deadline_mono_ns=1)
            if not gate.offer(command, (0, 0), (0, 0), 0) or gate.take(0) is not None:
                raise Failed(f"the action space lets {_words(action)} through to the robot")
        return "NaN, infinite, unknown, missing and outside are refused before they reach the driver"

    def _check_reset(self) -> str:
        self._must_move()
        begin_s = time.monotonic()
        self._hands.call("reset", self._robot.reset)
        self._reset_s = time.monotonic() - begin_s
        self.timing["reset_ms"] = self._reset_s * 1000
        self._look()
        if self._reset_s > self.wanted.max_action_s:
            raise Failed(
                f"reset takes {self._reset_s:.2f} s and is stopped after {self.wanted.max_action_s:g} s: give a longer max_action_s"
            )
        return f"takes {self._reset_s * 1000:.1f} ms"

    # -- stop ---------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Stop, from a thread of its own."""
        took_s = self._hands.stop(STOP_S)
        if took_s > STOP_S:
            raise Failed(
                f"stop came back after {took_s:.2f} s, the limit is {STOP_S:g} s; it must wait for nothing, such as a lock of execute"
            )

    def _check_stop_while_execute(self) -> str:
        action, _, usual_s = max(self._longest(), key=lambda one: one[2])
        return self._interrupt("execute", usual_s, dict(action))

    def _check_stop_while_observe(self) -> str:
        return self._interrupt("observe", self.timing.get("observe_p50_ms", 0.0) / 1000)

    def _check_stop_while_reset(self) -> str:
        self._must_move()
        return self._interrupt("reset", self._reset_s)

    def _interrupt(self, what: str, usual_s: float, *args: Any) -> str:
        """Stop while the driver is busy: stop comes back at once, and what it interrupts ends."""
        busy = self._hands.begin(what, getattr(self._robot, what), *args)
        time.sleep(min(usual_s / 4, 0.1))
        begin_s = time.monotonic()
        try:
            self._stop()
            begin_s = time.monotonic()
        finally:
            with suppress(RobotError if what == "observe" else ()):  # who is stopped has perhaps nothing to show
                busy.result()
        late_s = time.monotonic() - begin_s
        if late_s > STOP_S:
            advice = "wait with threading.Event.wait(seconds), which stop sets, not with time.sleep"
            raise Failed(f"{what} went on for {late_s:.2f} s after stop, the limit is {STOP_S:g} s; {advice}")
        return f"stop comes back, and {what} ends"

    def _check_goes_on(self) -> str:
        """After a stop the next action is executed again."""
        action, done, usual_s = max(self._longest(), key=lambda one: one[2])
        self._stop()
        begin_s = time.monotonic()
        again = self._hands.call("execute", self._robot.execute, dict(action))
        took_s = time.monotonic() - begin_s
        if (done and not again) or took_s < usual_s / 4 - 0.05:
            raise Failed(f"after a stop {_words(action)} is not done any more; forget the stop at the beginning of execute")
        self._stop()
        return "the next action is executed after a stop"

    # -- the end ------------------------------------------------------------------------------------

    def _check_close(self) -> str:
        if not (callable(getattr(self._robot, "close", None)) and callable(getattr(self._robot, "stop", None))):
            raise NotChecked("'members' comes first")
        self._stop()
        self._hands.call("close", self._robot.close)
        self._hands.call("close", self._robot.close)
        return "close, and close again"

    def _check_closed(self) -> str:
        try:
            self._hands.call("observe", self._robot.observe)
        except RobotError as error:
            if "\n" in str(error).strip():
                raise Failed("observe after close raises a RobotError of several lines; one is read") from None
            return f"observe after close says: {error}"
        raise Failed("observe after close gave an observation; raise RobotError")


def wrong_with_space(space: object) -> str:
    """What is wrong with an action space; empty when nothing is."""
    if not isinstance(space, ActionSpaceInfo):
        return f"it is {type(space).__name__}, not protocol.messages.ActionSpaceInfo"
    names = space.names
    if not isinstance(names, list) or not names or not all(type(name) is str and name.strip() for name in names):
        return f"names are {names!r}; give plain strings, none of them empty"
    if len(set(names)) < len(names):
        return f"names are {names}: one is there twice"
    if space.discrete:
        return _wrong_with_choices(space)
    if not len(space.low) == len(space.high) == len(names):
        return f"{len(names)} names, {len(space.low)} values of low, {len(space.high)} of high; or give choices"
    for name, low, high in zip(names, space.low, space.high, strict=True):
        if not (_number(low) and _number(high) and low < high):
            return f"{name} goes from {low!r} to {high!r}; give finite plain numbers, low below high"
    return ""


def _wrong_with_choices(space: ActionSpaceInfo) -> str:
    if space.low or space.high:
        return "it has choices and bounds; give one of the two"
    for choice in space.choices:
        if set(choice) != set(space.names):
            return f"choice {choice} does not name each of {', '.join(space.names)}"
        if not all(map(_number, choice.values())):
            return f"choice {choice} holds what is no finite plain number"
    if len({tuple(sorted(choice.items())) for choice in space.choices}) < len(space.choices):
        return "one choice is there twice"
    return ""


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _shapes(seen: Observation) -> dict[str, str]:
    return {name: f"{'x'.join(map(str, array.shape))} {array.dtype}" for name, array in frame_arrays(seen).items()}


def _pictures(seen: Observation) -> Iterator[str]:
    for name, image in seen.images.items():
        yield f"{name} {image.shape[1]}x{image.shape[0]}"


def _words(action: Action) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in action.items()) or "nothing"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
