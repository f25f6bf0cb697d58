"""Plays one thing after the other when it is due; what a person may ask meanwhile. Whoever derives says what is played."""

import time
from abc import ABC, abstractmethod
from collections import deque
from typing import Any, NamedTuple

import msgspec

from nodes.robot.config import Place, RobotConfig, check_place
from nodes.robot.interface import RobotError
from nodes.robot.playing import Pace
from nodes.runtime import EXIT_BAD_CONFIG, MAX_WAIT_S, Node, NodeError

METRICS_EVERY_S = 1.0
MOST_AHEAD = 4
READ_S = 0.01
"""While there is more time than this until the next step, a few more are read, so that a slow read makes none late."""


class Due(NamedTuple):
    """What is played next, and when on the timeline."""

    at_s: float
    what: Any


class Player(Node, ABC):
    """A replay moves nothing: it needs no watchdog, and a halt is a pause."""

    config: RobotConfig
    _opened = False

    def setup(self) -> None:
        try:
            self.options = self.config.replay_options()
        except ValueError as error:
            raise NodeError(f"replay: {error}", EXIT_BAD_CONFIG) from None
        self.pace = Pace(self.options.rate)
        self.paused = self.options.paused
        self.ended, self._farewell = False, ""
        self.steps = 0
        self._steps_allowed = 0
        self._ahead: deque[Due] = deque()
        self._metrics_s, self._metrics_steps = 0.0, 0
        try:
            self.open()
        except RobotError as error:
            raise NodeError(str(error), EXIT_BAD_CONFIG) from None
        self._opened = True

    # -- what is played ---------------------------------------------------------------------------

    @abstractmethod
    def open(self) -> None:
        """Find what is to be played. RobotError when it cannot be."""

    @abstractmethod
    def read(self) -> Due | None:
        """What comes next; None at the end."""

    @abstractmethod
    def play(self, what: Any) -> None:
        """Publish it; `self.steps` counts the steps of the robot."""

    @abstractmethod
    def end(self) -> str:
        """Say what is to be said at the end; why it is the end."""

    @abstractmethod
    def let_go(self) -> None:
        """Nothing is read any more."""

    def values(self, last: bool) -> dict[str, float]:
        """Metrics of its own; `last`: those of the whole run too."""
        return {}

    # -- the loop ---------------------------------------------------------------------------------

    def go(self) -> None:
        self._metrics_s = time.monotonic()
        if self.paused:
            self.bus.set_state("paused")

    def tick(self) -> float:
        now_s = time.monotonic()
        self._tell_metrics(now_s)
        if self.ended:
            return self.finish_when_taken("ended", self._farewell)
        if self.paused and self.steps >= self._steps_allowed:
            return MAX_WAIT_S
        if not self._ahead and not self._read_one():
            self.ended, self._farewell = True, self.end()
            return 0.0
        wait_s = 0.0 if self.paused else self.pace.wait_s(self._ahead[0].at_s, time.monotonic())
        if wait_s > READ_S and len(self._ahead) < MOST_AHEAD and self._read_one():
            return 0.0
        if wait_s > 0:
            return wait_s
        self.play(self._ahead.popleft().what)
        return 0.0

    def _read_one(self) -> bool:
        """Read what comes next; whether there was any."""
        try:
            due = self.read()
        except RobotError as error:
            raise NodeError(f"the replay cannot go on: {error}") from None
        if due is not None:
            self._ahead.append(due)
        return due is not None

    def _tell_metrics(self, now_s: float) -> None:
        elapsed_s = now_s - self._metrics_s
        if elapsed_s < METRICS_EVERY_S:
            return
        rate_hz = (self.steps - self._metrics_steps) / elapsed_s
        self._metrics_s, self._metrics_steps = now_s, self.steps
        self.metrics({"steps": self.steps, "rate_hz": rate_hz, **self.values(last=False)})

    # -- control ----------------------------------------------------------------------------------

    def do_pause(self, args: dict[str, Any]) -> None:
        self.paused = True
        self._steps_allowed = 0
        self.bus.set_state("paused")

    do_halt = do_pause

    def do_resume(self, args: dict[str, Any]) -> None:
        self.paused = False
        self.pace.rest()
        self.bus.set_state("running")

    def do_step(self, args: dict[str, Any]) -> None:
        """One step of a replay that is paused."""
        if not self.paused:
            raise ValueError("pause the replay first, then step it")
        self._steps_allowed = self.steps + 1

    def do_seek(self, args: dict[str, Any]) -> None:
        """`to`: seconds from the first frame, or EPISODE/STEP. A replay that is paused shows one step from there."""
        if self.ended:
            raise ValueError("the replay has ended")
        place: Place = msgspec.convert(args["to"], Place)
        check_place(place)
        try:
            self.seek(place)
        except RobotError as error:
            raise ValueError(str(error)) from None
        self._ahead.clear()
        self.pace.rest()
        self._steps_allowed = self.steps + 1

    def seek(self, place: Place) -> None:
        """Have `read` go on from there. RobotError when there is no such place."""
        raise RobotError("an exact replay plays all of a session, in order")

    def close(self) -> None:
        """The last words; then what is played is let go of."""
        if not self._opened:
            return
        self.metrics({"steps": self.steps, **self.values(last=True)})
        self.let_go()
