"""How a run went, in numbers: which actions were executed, and how evenly the steps came. Pure."""

from collections import Counter, deque

import numpy as np

from protocol.messages import Action, ActionSpaceInfo

KEPT_STEPS = 100_000


class Statistics:
    """Of the whole run for counts and means; percentiles are over the last 100,000 steps."""

    def __init__(self, space: ActionSpaceInfo) -> None:
        self._space = space
        self._counts: Counter[int] = Counter()
        self._failed = 0
        self._safe = 0
        self._values: deque[list[float]] = deque(maxlen=KEPT_STEPS)
        self._intervals_s: deque[float] = deque(maxlen=KEPT_STEPS)
        self._executions_s: deque[float] = deque(maxlen=KEPT_STEPS)
        self._before_s: float | None = None

    def frame(self, now_s: float) -> float | None:
        """A frame was published; the seconds since the one before it."""
        before_s, self._before_s = self._before_s, now_s
        if before_s is None:
            return None
        self._intervals_s.append(now_s - before_s)
        return now_s - before_s

    def pause(self) -> None:
        """The next interval counts for nothing: somebody paused."""
        self._before_s = None

    def action(self, action: Action, duration_s: float, success: bool, safe: bool) -> None:
        """An action was executed; `safe`: because no command came in time."""
        self._executions_s.append(duration_s)
        self._failed += not success
        self._safe += safe
        if self._space.discrete:
            if action in self._space.choices:  # a recording may hold others
                self._counts[self._space.choices.index(action)] += 1
        else:
            self._values.append([action[name] for name in self._space.names])

    def counts(self) -> dict[str, float]:
        """What went otherwise than asked."""
        return {"actions_failed": self._failed, "actions_safe": self._safe}

    def numbers(self) -> dict[str, float]:
        """As metrics: `action.<name>=<value>` counts or `action.<name>.mean` and so on, times in ms."""
        out = self.counts()
        for index, choice in enumerate(self._space.choices):
            label = ",".join(f"{name}={value:g}" for name, value in choice.items())
            out[f"action.{label}"] = self._counts[index]
        if self._values:
            values = np.array(self._values)
            for column, name in enumerate(self._space.names):
                part = values[:, column]
                figures = {"mean": part.mean(), "std": part.std(), "min": part.min(), "max": part.max()}
                out |= {f"action.{name}.{figure}": float(value) for figure, value in figures.items()}
        return out | _times("interval", self._intervals_s) | _times("execute", self._executions_s)


def _times(name: str, seconds: deque[float]) -> dict[str, float]:
    if not seconds:
        return {}
    ms = np.array(seconds) * 1000
    p50, p95, p99 = np.percentile(ms, [50, 95, 99])
    figures = {"mean": ms.mean(), "p50": p50, "p95": p95, "p99": p99, "max": ms.max()}
    return {f"{name}_ms.{figure}": float(value) for figure, value in figures.items()}
