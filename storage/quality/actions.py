"""Which actions were executed, and how often."""

import math

from protocol.messages import ActionTaken, Robot
from storage.quality.cameras import Counter
from storage.quality.report import ActionQuality, Dimension, Place, Taken

BINS = 16


class ActionMeter:
    """Takes the executed actions of a robot; None when nothing is known of it."""

    def __init__(self, robot: Robot | None) -> None:
        space = robot.actions if robot else None
        self._choices = space.choices if space else []
        self._counts = [0] * len(self._choices)
        bounds = zip(space.names, space.low, space.high, strict=False) if space else []
        self._bounds = {name: (low, high) for name, low, high in bounds}
        self._dimensions: dict[str, _Dimension] = {}
        self._count = 0
        self._safe, self._failed, self._other = Counter(), Counter(), Counter()

    def add(self, body: ActionTaken, place: Place) -> int | None:
        """Count an action; the number of the choice it is, None for none."""
        self._count += 1
        if body.safe:
            self._safe.add(place)
        if not body.success:
            self._failed.add(place)
        if not all(map(math.isfinite, body.action.values())):
            self._other.add(place)
            return None
        if not self._choices:
            for name, value in body.action.items():
                if name not in self._dimensions:
                    self._dimensions[name] = _Dimension(name, *self._bounds.get(name, (None, None)))
                self._dimensions[name].add(value)
            return None
        try:
            choice = self._choices.index(body.action)
        except ValueError:
            self._other.add(place)
            return None
        self._counts[choice] += 1
        return choice

    def result(self) -> ActionQuality:
        return ActionQuality(
            count=self._count, safe=self._safe.result(), failed=self._failed.result(), other=self._other.result(),
            choices=[Taken(action, count) for action, count in zip(self._choices, self._counts, strict=True)],
            dimensions=[dimension.result() for dimension in self._dimensions.values()],
        )  # fmt: skip


class _Dimension:
    """The range and the bins of one number."""

    def __init__(self, name: str, low: float | None, high: float | None) -> None:
        self._name, self._low, self._high = name, low, high
        self._min, self._max, self._sum, self._count = float("inf"), float("-inf"), 0.0, 0
        self._bins = [0] * BINS if low is not None and high is not None and high > low else []

    def add(self, value: float) -> None:
        self._min, self._max = min(self._min, value), max(self._max, value)
        self._sum, self._count = self._sum + value, self._count + 1
        if self._bins and self._low is not None and self._high is not None:
            at = int((value - self._low) / (self._high - self._low) * BINS)
            self._bins[min(max(at, 0), BINS - 1)] += 1

    def result(self) -> Dimension:
        return Dimension(
            name=self._name, low=self._low, high=self._high, min=self._min, max=self._max,
            mean=self._sum / self._count, bins=list(self._bins),
        )  # fmt: skip
