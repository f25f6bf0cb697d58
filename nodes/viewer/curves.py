"""A curve of a whole run in bounded memory: when it is full, neighbours are averaged and it goes on.

curve = Curve(limit=600)
curve.add(elapsed_s, loss)
xs, ys = curve.points()
"""

import math
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


class Curve:
    """Points (x, y) of a run, at most `limit` of them, evenly thinned from the first to the newest."""

    def __init__(self, limit: int = 600) -> None:
        if limit < 4:
            raise ValueError(f"limit is {limit}: a curve keeps at least 4 points")
        self.limit = limit - limit % 2
        self.stride = 1  # how many values one kept point averages
        self.last: float | None = None
        self._points: list[tuple[float, float]] = []
        self._sum_x = self._sum_y = 0.0
        self._pending = 0

    def __len__(self) -> int:
        return len(self._points) + (self._pending > 0)

    def add(self, x: float, y: float) -> None:
        """Append one value; a value that is not finite is left out."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return
        self.last = y
        self._sum_x, self._sum_y, self._pending = self._sum_x + x, self._sum_y + y, self._pending + 1
        if self._pending < self.stride:
            return
        self._points.append((self._sum_x / self._pending, self._sum_y / self._pending))
        self._sum_x = self._sum_y = 0.0
        self._pending = 0
        if len(self._points) >= self.limit:
            pairs = zip(self._points[::2], self._points[1::2], strict=True)
            self._points = [((x0 + x1) / 2, (y0 + y1) / 2) for (x0, y0), (x1, y1) in pairs]
            self.stride *= 2

    def points(self) -> tuple[FloatArray, FloatArray]:
        """xs and ys, float64 [N], N <= limit; values not yet averaged into a point count as the last one."""
        points = self._points
        if self._pending:
            points = [*points, (self._sum_x / self._pending, self._sum_y / self._pending)]
        array = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        return array[:, 0], array[:, 1]
