"""Does a driver keep the contract of `nodes/robot/interface.py`? Each check has a name and says what to do.

    for finding in Contract(Wanted(driver="my_robots.wheels:Wheels")).run(lambda name: None): ...

The driver lives on one thread, as in the robot node; `stop` comes from others. A check that fails leaves the others their
say, where they still can be made. A driver that hangs cannot be taken back: `run` ends there, and so should the process.
"""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nodes.robot.bodies import frame_arrays
from nodes.robot.contract.hands import Broken, Hung
from nodes.robot.contract.spaces import actions_to_try, wrong_with_space
from nodes.robot.contract.trial import LOOKS, Failed, Finding, NotChecked, Trial, line, pictures, shapes, words
from nodes.robot.core import CommandGate
from nodes.robot.drivers import make_driver, unknown
from nodes.robot.interface import Observation, Robot, RobotError, check_action
from nodes.robot.limits import Limits
from protocol.messages import Action, Command

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


class Contract(Trial):
    """The checks of one driver, in order."""

    def run(self, begin: Callable[[str], None]) -> Iterator[Finding]:
        """Make every check; `begin` is told of each before it is made. The robot is stopped at the end, also when it hangs."""
        why = ""
        for name in NAMES:
            begin(name)
            finding = Finding(name, "not checked", why) if why and name != "close" else self._make_check(name)
            yield finding
            if self.hung:
                why = "the driver hangs"
                break
            if finding.outcome == "failed" and name in FIRST:
                why = f"'{name}' comes first"
        if self.hung:
            self.abandon()
            yield from (Finding(rest, "not checked", why) for rest in NAMES[NAMES.index(name) + 1 :])

    def _make_check(self, name: str) -> Finding:
        try:
            return Finding(name, "ok", getattr(self, f"_check_{name.replace(' ', '_')}")())
        except NotChecked as why:
            return Finding(name, "not checked", str(why))
        except Hung as hung:
            self.hung = True
            return Finding(name, "failed", line(hung))
        except (Failed, Broken, RobotError) as error:
            return Finding(name, "failed", line(error))
        except Exception as error:  # what a driver gives may be anything
            return Finding(name, "failed", line(TypeError(f"what it gives cannot be used: {type(error).__name__}: {error}")))

    # -- made, with its options ---------------------------------------------------------------------

    def _make(self, options: dict[str, Any]) -> Robot:
        driver: Robot = self.hands.call("the constructor", make_driver, self.wanted.driver, options, self.wanted.seed)
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
        self.hands.call("close", getattr(driver, "close", int))
        advice = "decode them with msgspec.convert(options, MyOptions), MyOptions being a Struct with forbid_unknown_fields=True"
        raise Failed(f"it takes an option that it does not know: a slip in a launch file would go unnoticed; {advice}")

    def _check_load(self) -> str:
        self.driver = self._make(dict(self.wanted.options))
        self.hands.driver = self.driver
        return f"{type(self.driver).__name__} is made"

    def _check_members(self) -> str:
        missing = [name for name in MEMBERS if not self.hands.call(name, hasattr, self.robot, name)]
        missing += [f"{name}()" for name in MEMBERS[3:] if name not in missing and not callable(getattr(self.robot, name))]
        if missing:
            raise Failed(f"it has no {', '.join(missing)}; see nodes/robot/interface.py")
        return "all attributes and methods are there"

    def _check_action_space(self) -> str:
        space = self.attribute("action_space")
        if wrong := wrong_with_space(space):
            raise Failed(f"action_space: {wrong}")
        self.space = space
        return f"{len(space.choices)} choices" if space.discrete else f"numbers: {', '.join(space.names)}"

    def _check_safe_action(self) -> str:
        safe = dict(self.attribute("safe_action"))
        if wrong := check_action(safe, self.actions):
            raise Failed(f"safe_action {safe} is not one of its actions: {wrong}")
        self.safe = safe
        return words(safe)

    def _check_stop_first(self) -> str:
        """Before anything else, and again."""
        self.stop()
        self.stop()
        self.stops = True
        return "stop comes back, before anything was executed and twice"

    # -- what it sees -----------------------------------------------------------------------------

    def _check_observe(self) -> str:
        times = []
        for _ in range(LOOKS):
            begin_s = time.monotonic()
            self.look()
            times.append(time.monotonic() - begin_s)
        self.sees = True
        p50, p99 = (float(np.percentile(times, share)) * 1000 for share in (50, 99))
        self.timing |= {"observe_p50_ms": p50, "observe_p99_ms": p99}
        return f"{', '.join(pictures(self._first))}; takes {p50:.1f} ms, p99 {p99:.1f} ms"

    @property
    def _first(self) -> Observation:
        self.must_see()
        return self.seen[0][0]

    def _check_state(self) -> str:
        state, names = self._first.state, self.attribute("state_names")
        length = 0 if state is None else len(state)
        if not isinstance(names, list) or not all(type(name) is str and name for name in names):
            raise Failed(f"state_names is {names!r}, not a list of names")
        if len(names) != length:
            raise Failed(f"{len(names)} state_names for a state of {length} numbers")
        if state is not None and not np.isfinite(state).all():
            raise Failed(f"the state holds what is no finite number: {state.tolist()}")
        return ", ".join(names) or "no state"

    def _check_same_shapes(self) -> str:
        first = shapes(self._first)
        for seen, _ in self.seen:
            if shapes(seen) != first:
                raise Failed(f"observations differ: first {first}, later {shapes(seen)}; give the same cameras and sizes each time")
        return f"the same in {len(self.seen)} looks"

    def _check_new_arrays(self) -> str:
        advice = "make new ones for each observation, such as image.copy()"
        self.must_see()
        if self.fills_again:
            raise Failed(f"it fills an array that it gave away; {advice}")
        kept = [(frame_arrays(seen), copies) for seen, copies in self.seen]
        for number, (before, copies) in enumerate(kept):
            for name, array in before.items():
                if any(
                    array is not other and np.may_share_memory(array, other) for after, _ in kept[number + 1 :] for other in after.values()
                ):
                    raise Failed(f"{name} lies in the same memory in two observations; {advice}")
                if not np.array_equal(array, copies[name], equal_nan=array.dtype.kind == "f"):
                    raise Failed(f"{name} changed after it was given away; {advice}")
        return "each observation has arrays of its own"

    def _check_colours(self) -> str:
        for name in self._first.images:
            images = [seen.images[name] for seen, _ in self.seen if name in seen.images]
            values = np.flatnonzero(sum(np.bincount(image.reshape(-1), minlength=256) for image in images))
            if len(values) == 1:
                raise Failed(f"camera {name} shows nothing but {values[0]}: is its lens covered, or is it not read?")
            if values[-1] <= 1:
                raise Failed(f"camera {name} gives 0 and 1 only: multiply by 255 before astype(np.uint8)")
        return "pictures have contrast; whether red is red, `toddle robot try` shows"

    # -- what it does -------------------------------------------------------------------------------

    def _check_execute(self) -> str:
        self.must_move()
        for action in actions_to_try(self.actions, self.safe_action, self.wanted.seed):
            begin_s = time.monotonic()
            done = self.hands.call("execute", self.robot.execute, dict(action))
            self.executed.append((action, bool(done), time.monotonic() - begin_s))
            if not isinstance(done, bool | np.bool_):
                raise Failed(f"execute returned {done!r} for {words(action)}, not True (done) or False")
            if self.sees:
                self.look()
        took = [seconds * 1000 for _, _, seconds in self.executed]
        self.timing |= {f"execute {words(action)} ms": seconds * 1000 for action, _, seconds in self.executed}
        failed = sum(not done for _, done, _ in self.executed)
        not_done = f", {failed} of them not done" if failed else ""
        return f"{len(took)} actions{not_done}; one takes {min(took):.1f} to {max(took):.1f} ms"

    def _check_action_time(self) -> str:
        action, _, seconds = max(self._longest(), key=lambda one: one[2])
        limit_s = self.wanted.max_action_s
        if seconds > limit_s:
            raise Failed(_too_slow(words(action), seconds, limit_s))
        look_s = self.timing.get("observe_p99_ms", 0.0) / 1000
        return f"within {limit_s:g} s; up to {min(1 / max(seconds + look_s, 1e-3), 1000):.0f} steps a second"

    def _longest(self) -> list[tuple[Action, bool, float]]:
        self.must_move()
        if not self.executed:
            raise NotChecked("'execute' comes first")
        return self.executed

    def _check_refused(self) -> str:
        """What the node does with commands that are no actions: nothing of them reaches the driver."""
        space, safe = self.actions, self.safe_action
        name = space.names[0]
        bad: list[Action] = [{**safe, name: math.nan}, {**safe, name: math.inf}, {**safe, "no such name": 0.0}, {}]
        bad.append({**safe, name: 1e300})
        gate = CommandGate(space, Limits({}, space, safe))
        for action in bad:
            command = Command(action=action, by="check", deadline_mono_ns=1)
            if not gate.offer(command, (0, 0), (0, 0), 0) or gate.take(0) is not None:
                raise Failed(f"the action space lets {words(action)} through to the robot")
        return "NaN, infinite, unknown, missing and outside are refused before they reach the driver"

    def _check_reset(self) -> str:
        self.must_move()
        begin_s = time.monotonic()
        self.hands.call("reset", self.robot.reset)
        self.reset_s = time.monotonic() - begin_s
        self.timing["reset_ms"] = self.reset_s * 1000
        if self.sees:
            self.look()
        if self.reset_s > self.wanted.max_action_s:
            raise Failed(_too_slow("reset", self.reset_s, self.wanted.max_action_s))
        return f"takes {self.reset_s * 1000:.1f} ms"

    # -- stop ---------------------------------------------------------------------------------------

    def _check_stop_while_execute(self) -> str:
        action, _, usual_s = max(self._longest(), key=lambda one: one[2])
        return self.interrupt("execute", usual_s, dict(action))

    def _check_stop_while_observe(self) -> str:
        self.must_see()
        if not self.stops:
            raise NotChecked("'stop first' comes first")
        return self.interrupt("observe", self.timing.get("observe_p50_ms", 0.0) / 1000)

    def _check_stop_while_reset(self) -> str:
        self.must_move()
        return self.interrupt("reset", self.reset_s)

    def _check_goes_on(self) -> str:
        """After a stop the next action is executed again."""
        action, done, usual_s = max(self._longest(), key=lambda one: one[2])
        self.stop()
        begin_s = time.monotonic()
        again = self.hands.call("execute", self.robot.execute, dict(action))
        took_s = time.monotonic() - begin_s
        if (done and not again) or took_s < usual_s / 4 - 0.05:
            raise Failed(f"after a stop {words(action)} is not done any more; forget the stop at the beginning of execute")
        self.stop()
        return "the next action is executed after a stop"

    # -- the end ------------------------------------------------------------------------------------

    def _check_close(self) -> str:
        if not (callable(getattr(self.robot, "close", None)) and callable(getattr(self.robot, "stop", None))):
            raise NotChecked("'members' comes first")
        if self.stops:
            self.stop()
        self.hands.call("close", self.robot.close)
        self.hands.call("close", self.robot.close)
        return "close, and close again"

    def _check_closed(self) -> str:
        try:
            self.hands.call("observe", self.robot.observe)
        except RobotError as error:
            if "\n" in str(error).strip():
                raise Failed("observe after close raises a RobotError of several lines; one is read") from None
            return f"observe after close says: {error}"
        raise Failed("observe after close gave an observation; raise RobotError")


def _too_slow(what: str, seconds: float, limit_s: float) -> str:
    text = f"{what} takes {seconds:.2f} s, and is stopped after {limit_s:g} s"
    return f"{text}: give a longer max_action_s in the launch file, and --max-action-s here"
