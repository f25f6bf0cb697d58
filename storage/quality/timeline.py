"""Numbers over the time of a session, in a bounded number of bins that grow wider as it gets longer."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Way = Literal["sum", "max", "min"]
FloatArray = NDArray[np.float64]

BINS = 1024
START_S = 0.1  # width of a bin of a short session
_START: dict[str, float] = {"sum": 0.0, "max": -np.inf, "min": np.inf}
_JOIN: dict[str, Callable[[Any, Any], Any]] = {"sum": np.add, "max": np.maximum, "min": np.minimum}


class Timeline:
    """Named series over one axis of `used` bins of `width_s` each; `series` maps names to float64 [BINS].

    Bins that got no value are 0 (sum), -inf (max) or inf (min).
    """

    def __init__(self) -> None:
        self.width_s = START_S
        self.used = 0
        self.series: dict[str, FloatArray] = {}
        self._ways: dict[str, Way] = {}

    def add(self, name: str, at_s: float, value: float = 1.0, way: Way = "sum") -> None:
        """Count `value` at `at_s` (>= 0) into a series; a series keeps the way of its first value."""
        while at_s >= BINS * self.width_s:
            self.widen()
        if name not in self.series:
            self.series[name] = np.full(BINS, _START[way])
            self._ways[name] = way
        at = int(at_s / self.width_s)
        self.used = max(self.used, at + 1)
        row = self.series[name]
        row[at] = _JOIN[self._ways[name]](row[at], value)

    def get(self, name: str) -> FloatArray:
        """The used bins of a series, float64 [used]; zeros when nothing was counted under that name."""
        return self.series.get(name, np.zeros(BINS))[: self.used]

    def under(self, prefix: str) -> dict[str, FloatArray]:
        """All series whose names begin with `prefix`, by the rest of their names."""
        return {name.removeprefix(prefix): self.get(name) for name in sorted(self.series) if name.startswith(prefix)}

    def widen(self) -> None:
        """Two neighbouring bins become one."""
        self.width_s *= 2
        self.used = -(-self.used // 2)
        for name, row in self.series.items():
            way = self._ways[name]
            row[: BINS // 2] = _JOIN[way](row[::2], row[1::2])
            row[BINS // 2 :] = _START[way]
