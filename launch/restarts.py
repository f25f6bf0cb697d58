"""Whether and when a node that ended starts again: pure arithmetic on times."""

from collections import deque

from launch.schema import Restart

NEVER_AGAIN = (2, 4)
"""Exit codes that a new start cannot cure: bad configuration, out of disk."""


class Restarts:
    """One node's restart rule and its recent starts."""

    def __init__(self, rule: Restart) -> None:
        self.rule = rule
        self.count = 0
        self._recent: deque[float] = deque()

    def due(self, exit_code: int, now_s: float) -> float | None:
        """When to start again after an exit, or None: it is gone for good."""
        rule = self.rule
        wanted = rule.policy == "always" or (rule.policy == "on-failure" and exit_code != 0)
        if not wanted or exit_code in NEVER_AGAIN:
            return None
        while self._recent and now_s - self._recent[0] > rule.window_s:
            self._recent.popleft()
        if len(self._recent) >= rule.max:
            return None
        delay: float = min(rule.backoff_s * 2 ** len(self._recent), rule.backoff_max_s)
        self._recent.append(now_s)
        self.count += 1
        return now_s + delay
