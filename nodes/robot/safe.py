"""A driver that moves within its limits, and only while nobody said stop."""

import time

from nodes.robot.guard import Guard
from nodes.robot.interface import Observation
from nodes.robot.limits import Limit, Limits
from nodes.robot.watchdog import Watchdog
from protocol.clock import Clock
from protocol.messages import Action, ActionTaken


class SafeDriver:
    """`rate_limited` counts actions that were asked to change too fast."""

    def __init__(self, driver: Guard, limits: dict[str, Limit], step_s: float, watchdog: Watchdog, clock: Clock) -> None:
        """`step_s`: the time between two actions, 0 where it is not fixed. Raises ValueError for limits that cannot be."""
        self.limits = Limits(limits, driver.action_space, driver.safe_action, step_s)
        self.rate_limited = 0
        self._driver, self._watchdog, self._clock = driver, watchdog, clock
        self._stops = watchdog.stops

    def observe(self) -> Observation:
        with self._watchdog.doing("observe"):
            return self._driver.observe()

    def reset(self) -> bool:
        """Move to where an episode begins; False when nothing may move now."""
        with self._watchdog.moving("reset") as may:
            if may:
                self._driver.reset()
            return may

    def execute(self, action: Action, by: str) -> ActionTaken | None:
        """What was done: the action as far as the limits of rate allow it; None when the robot was stopped before."""
        now_s = time.monotonic()
        if self._stops != self._watchdog.stops:  # a robot that was stopped is taken to be at its safe action
            self._stops = self._watchdog.stops
            self.limits.rested(self._driver.safe_action)
        slowed = self.limits.slowed(action, now_s)
        self.rate_limited += slowed != action
        return self._execute(slowed, by, now_s)

    def execute_safe(self) -> ActionTaken | None:
        """The safe action, at once: no limit of rate holds it back."""
        return self._execute(self._driver.safe_action, "robot", time.monotonic(), safe=True)

    def _execute(self, action: Action, by: str, now_s: float, safe: bool = False) -> ActionTaken | None:
        start_ns, start_mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        with self._watchdog.moving() as may:
            if not may:
                return None
            success = self._driver.execute(action)
        self.limits.moved(action, now_s)
        took_ns = self._clock.mono_ns() - start_mono_ns
        return ActionTaken(action=action, by=by, start_ns=start_ns, end_ns=start_ns + took_ns, success=success, safe=safe)
