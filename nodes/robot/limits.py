"""What a robot may be told, whatever its driver allows: limits of value and of rate. Pure.

A value outside its limits is refused; one that changes too fast is taken as far as it may go. The safe action
is always allowed.
"""

import difflib
import math
from itertools import product

import msgspec

from protocol.messages import Action, ActionSpaceInfo

LONGEST_STEP_S = 1.0


class Limit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of one number of an action. `max_rate_per_s`: how much it may change in a second."""

    min: float | None = None
    max: float | None = None
    max_rate_per_s: float | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"min {self.low:g} is above max {self.high:g}")
        if self.max_rate_per_s is not None and not self.max_rate_per_s > 0:
            raise ValueError(f"max_rate_per_s is {self.max_rate_per_s:g}; it must be above 0")

    @property
    def low(self) -> float:
        return -math.inf if self.min is None else self.min

    @property
    def high(self) -> float:
        return math.inf if self.max is None else self.max


class Limits:
    """The limits of a robot; `space` is what it takes within them."""

    def __init__(self, limits: dict[str, Limit], space: ActionSpaceInfo, safe_action: Action, step_s: float = 0.0) -> None:
        """`step_s`: the time between two actions, where it is fixed. Raises ValueError, one line, for limits that cannot be."""
        self._limits = limits
        self._longest_s = step_s or LONGEST_STEP_S
        self.rested(safe_action)
        for name in limits:
            if name not in space.names:
                near = difflib.get_close_matches(name, space.names, 1) or sorted(space.names)
                raise ValueError(f"limits: this robot has no action {name!r}; did you mean {near[0]!r}?")
        if outside := self.over(safe_action):
            raise ValueError(f"limits: the safe action {safe_action} is outside: {outside}")
        self.space = space
        if limits:
            self.space = self._choices_inside(space) if space.discrete else self._narrowed(space)

    def over(self, action: Action) -> str:
        """Why an action is outside the limits; empty when it is not. What is no finite number is outside."""
        for name, limit in self._limits.items():
            value = action.get(name, math.nan)
            if not (limit.low <= value <= limit.high and math.isfinite(value)):
                return f"{name}={value:g} is outside the limits [{limit.low:g}, {limit.high:g}]"
        return ""

    def slowed(self, action: Action, now_s: float) -> Action:
        """The action, as far as it may go from the last one: at most one step's worth, however long that was ago."""
        elapsed_s = max(min(now_s - self._last_s, self._longest_s), 0.0)
        out = dict(action)
        for name, limit in self._limits.items():
            if limit.max_rate_per_s is not None:
                most = limit.max_rate_per_s * elapsed_s
                out[name] = min(max(action[name], self._last[name] - most), self._last[name] + most)
        return out

    def moved(self, action: Action, now_s: float) -> None:
        """This was executed: rates count from it."""
        self._last, self._last_s = dict(action), now_s

    def rested(self, safe_action: Action) -> None:
        """The robot was stopped: it is taken to be at its safe action, for long."""
        self.moved(safe_action, -math.inf)

    def _choices_inside(self, space: ActionSpaceInfo) -> ActionSpaceInfo:
        for (name, limit), choice in product(self._limits.items(), space.choices):
            if limit.max_rate_per_s is not None:
                raise ValueError(f"limits: {name} has max_rate_per_s, but this robot's actions are choices: nothing lies between them")
            if outside := self.over(choice):
                raise ValueError(f"limits: this robot's choice {choice} can never be made: {outside}")
        return space

    def _narrowed(self, space: ActionSpaceInfo) -> ActionSpaceInfo:
        """What is offered to a commander: nothing that would be refused."""
        free = Limit()
        low = [max(value, self._limits.get(name, free).low) for name, value in zip(space.names, space.low, strict=True)]
        high = [min(value, self._limits.get(name, free).high) for name, value in zip(space.names, space.high, strict=True)]
        for name, least, most in zip(space.names, low, high, strict=True):
            if not least < most:
                raise ValueError(f"limits: nothing is left of {name}: [{least:g}, {most:g}]")
        return msgspec.structs.replace(space, low=low, high=high)
