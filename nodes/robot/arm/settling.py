"""When a joint that was told to go has come to rest. Pure: it is told times and positions."""

from collections import deque

DEPARTED = 0.5
"""So far from where it was a joint has begun to move, in its own units."""
STEADY = 0.5
"""The last readings lie within this: it stands."""
READINGS = 5


class Settling:
    """First it departs, then it stabilises. `settled_s`: when it stood, None before."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.departed_s: float | None = None
        self.settled_s: float | None = None
        self._last: deque[float] = deque(maxlen=READINGS)

    def take(self, t_s: float, position: float) -> bool:
        """A reading, `t_s` since the command; whether the joint has come to rest."""
        if self.departed_s is None and abs(position - self.start) > DEPARTED:
            self.departed_s = t_s
        if self.departed_s is None or self.settled_s is not None:
            return self.settled_s is not None
        self._last.append(position)
        if len(self._last) == READINGS and max(self._last) - min(self._last) < STEADY:
            self.settled_s = t_s
        return self.settled_s is not None

    @property
    def last(self) -> float:
        """The newest reading."""
        return self._last[-1] if self._last else self.start

    @property
    def trouble(self) -> str:
        """Why there is no time; empty when there is one."""
        if self.departed_s is None:
            return "never moved"
        return "never came to rest" if self.settled_s is None else ""
