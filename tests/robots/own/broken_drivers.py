"""Drivers with one mistake each, and the check that is meant for it. All are the template, but for the mistake."""

import os
import signal
import threading
import time
from typing import Any

import numpy as np

from nodes.robot.interface import Observation, RobotError
from protocol.messages import Action, ActionSpaceInfo
from toddle.robot.template import MyRobot

SLOW_S = 1.4
STOP_SLOW_S = 0.9


class Good(MyRobot):
    """The template, quicker."""

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__({"action_s": 0.01, **options}, seed)


class Listed(Good):
    """The same with choices, of which the last may be slow."""

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.action_space = ActionSpaceInfo(names=["speed"], choices=[{"speed": 0.0}, {"speed": 1.0}])


class ShowsAFrameTwice(Good):
    """As a camera that is slower than who looks: the same frame again is nothing wrong, nobody writes to it."""

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.shown, self.looks = None, 0

    def observe(self) -> Observation:
        self.shown = super().observe() if self.looks % 2 == 0 else self.shown
        self.looks += 1
        if self._closed:
            raise RobotError("closed")
        return self.shown  # type: ignore[return-value]


class TakesAnyOption(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__({}, seed)


class OptionsInManyLines(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        if options:
            raise ValueError("wrong options:\n  - no_such_option")
        super().__init__(options, seed)


class NotThere(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        raise RobotError("no answer from 10.0.0.9; is it switched on?")


class ConstructorBreaks(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.port = {}["port"]  # type: ignore[var-annotated]


class NoReset(Good):
    reset = None  # type: ignore[assignment]


class Space(Good):
    space: Any = None

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.action_space = self.space


class EmptyName(Space):
    space = ActionSpaceInfo(names=[""], low=[-1.0], high=[1.0])


class NumpyName(Space):
    space = ActionSpaceInfo(names=[np.str_("speed")], low=[-1.0], high=[1.0])


class InfiniteBounds(Space):
    space = ActionSpaceInfo(names=["speed"], low=[-np.inf], high=[np.inf])


class BoundsTheWrongWay(Space):
    space = ActionSpaceInfo(names=["speed"], low=[1.0], high=[-1.0])


class ChoiceOfNothing(Space):
    space = ActionSpaceInfo(names=["speed"], choices=[{"speed": float("nan")}])


class ChoiceTwice(Space):
    space = ActionSpaceInfo(names=["speed"], choices=[{"speed": 0.0}, {"speed": 0.0}])


class PlainTuple(Space):
    space = ("speed", -1.0, 1.0)


class UnsafeSafeAction(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.safe_action = {"speed": 5.0}


class SafeActionOfNothing(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.safe_action = None  # type: ignore[assignment]


class StopNeedsAnAction(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.motors: Any = None

    def stop(self) -> None:
        self.motors.go(0.0)


class StopsSlowly(Good):
    def stop(self) -> None:
        time.sleep(STOP_SLOW_S)


class GreyImages(Good):
    def observe(self) -> Observation:
        return Observation(images={"side": super().observe().images["side"][:, :, 0]}, state=np.zeros(1, np.float32))


class ObserveBreaks(Good):
    def observe(self) -> Observation:
        if self._closed:
            raise RobotError("closed")
        raise ZeroDivisionError("a mistake of the driver's author")


class ThreeNamesForOneState(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.state_names = ["x", "y", "z"]


class StateOfNothing(Good):
    def observe(self) -> Observation:
        return Observation(images=super().observe().images, state=np.full(1, np.nan, np.float32))


class ShapesChange(Good):
    def observe(self) -> Observation:
        seen = super().observe()
        self.count = getattr(self, "count", 0) + 1
        return Observation(images={"side": seen.images["side"][: 32 + 32 * (self.count % 2)].copy()}, state=seen.state)


class FillsAgain(Good):
    buffer: np.ndarray | None = None

    def observe(self) -> Observation:
        seen = super().observe()
        self.buffer = seen.images["side"] if self.buffer is None else self.buffer
        self.buffer[:] = seen.images["side"]
        return Observation(images={"side": self.buffer}, state=seen.state)


class GivesAView(FillsAgain):
    def observe(self) -> Observation:
        seen = super().observe()
        return Observation(images={"side": seen.images["side"][:]}, state=seen.state)


class FillsLater(Good):
    """New arrays, but the one before is still written to."""

    before: np.ndarray | None = None

    def observe(self) -> Observation:
        seen = super().observe()
        if self.before is not None:
            self.before += 1
        self.before = seen.images["side"]
        return seen


class Dark(Good):
    def observe(self) -> Observation:
        super().observe()
        return Observation(images={"side": np.zeros((8, 8, 3), np.uint8)}, state=np.zeros(1, np.float32))


class ZeroToOne(Good):
    def observe(self) -> Observation:
        seen = super().observe()
        return Observation(images={"side": (seen.images["side"] / 255 + 0.5).astype(np.uint8)}, state=seen.state)


class ForgetsToReturn(Good):
    def execute(self, action: Action) -> bool:
        super().execute(action)
        return None  # type: ignore[return-value]


class ExecuteBreaks(Good):
    def execute(self, action: Action) -> bool:
        return bool(action["sped"])


class TooSlow(Listed):
    """Heeds stop."""

    def execute(self, action: Action) -> bool:
        self._stopped.clear()
        return not self._stopped.wait(SLOW_S * action["speed"])


class ResetsTooSlowly(Good):
    def reset(self) -> None:
        self._stopped.clear()
        self._stopped.wait(SLOW_S)


class SleepsThroughStop(Listed):
    def execute(self, action: Action) -> bool:
        time.sleep(STOP_SLOW_S * action["speed"])
        return True


class StopWaitsForExecute(Listed):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.lock = threading.Lock()

    def execute(self, action: Action) -> bool:
        with self.lock:
            time.sleep(STOP_SLOW_S * action["speed"])
            return True

    def stop(self) -> None:
        with self.lock:
            pass


class SleepsThroughStopInReset(Good):
    def reset(self) -> None:
        time.sleep(STOP_SLOW_S)


class ObservesWithStopLocked(Good):
    def __init__(self, options: dict[str, Any], seed: int) -> None:
        super().__init__(options, seed)
        self.lock, self.looks = threading.Lock(), 0

    def observe(self) -> Observation:
        with self.lock:
            self.looks += 1
            time.sleep(STOP_SLOW_S if self.looks > 28 else 0.002)  # as a camera that has stalled
            return super().observe()

    def stop(self) -> None:
        with self.lock:
            super().stop()


class NeverGoesOn(Good):
    stops = False

    def execute(self, action: Action) -> bool:
        return not self.stops and super().execute(action)

    def stop(self) -> None:
        super().stop()
        self.stops = self.place_changed()

    def place_changed(self) -> bool:
        return self._place != 1.0


class ClosesOnce(Good):
    def close(self) -> None:
        if self._closed:
            raise ValueError("closed file")
        super().close()


class SeesAfterClose(Good):
    def close(self) -> None:
        pass


class HangsInExecute(Good):
    def execute(self, action: Action) -> bool:
        threading.Event().wait()
        return True


class Dies(Good):
    def reset(self) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class HangsWithEverything(Good):
    """In C, with the interpreter's lock: nothing else runs any more, as SIGSTOP has it."""

    def reset(self) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)


MISTAKES: dict[type, str] = {
    TakesAnyOption: "options",
    OptionsInManyLines: "options",
    NotThere: "load",
    ConstructorBreaks: "load",
    NoReset: "members",
    EmptyName: "action space",
    NumpyName: "action space",
    InfiniteBounds: "action space",
    BoundsTheWrongWay: "action space",
    ChoiceOfNothing: "action space",
    ChoiceTwice: "action space",
    PlainTuple: "action space",
    UnsafeSafeAction: "safe action",
    SafeActionOfNothing: "safe action",
    StopNeedsAnAction: "stop first",
    StopsSlowly: "stop first",
    GreyImages: "observe",
    ObserveBreaks: "observe",
    ThreeNamesForOneState: "state",
    StateOfNothing: "state",
    ShapesChange: "same shapes",
    FillsAgain: "new arrays",
    GivesAView: "new arrays",
    FillsLater: "new arrays",
    Dark: "colours",
    ZeroToOne: "colours",
    ForgetsToReturn: "execute",
    ExecuteBreaks: "execute",
    TooSlow: "action time",
    ResetsTooSlowly: "reset",
    SleepsThroughStop: "stop while execute",
    StopWaitsForExecute: "stop while execute",
    SleepsThroughStopInReset: "stop while reset",
    ObservesWithStopLocked: "stop while observe",
    NeverGoesOn: "goes on",
    ClosesOnce: "close",
    SeesAfterClose: "closed",
    HangsInExecute: "execute",
}
