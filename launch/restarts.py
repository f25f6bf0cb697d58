"""Whether and when a node that ended starts again: pure arithmetic on times."""

from collections import deque

from launch.schema import Restart

FINISHED = (0, 3)
"""Exit codes of a node that has done what it was for, 3: and has lost something."""
NEVER_AGAIN = (2, 4)
"""Exit codes that a new start cannot cure: bad configuration, out of disk."""


class Restarts:
    """One node's restart rule and its recent starts, by the time in which the node ran."""

    def __init__(self, rule: Restart) -> None:
        self.rule = rule
        self.count = 0
        self._ran_s = 0.0
        self._recent: deque[float] = deque()

    def due(self, exit_code: int, now_s: float, ran_s: float, ended_by_us: bool = False) -> float | None:
        """When to start again after an exit, or None: it is gone for good.

        `ran_s` is how long the process was ready or running; `ended_by_us`: it hung, whatever its exit code.
        """
        self._ran_s += ran_s
        while self._recent and self._ran_s - self._recent[0] > self.rule.window_s:
            self._recent.popleft()
        if not self._wanted(exit_code, ended_by_us) or len(self._recent) >= self.rule.max:
            return None
        delay: float = min(self.rule.backoff_s * 2 ** len(self._recent), self.rule.backoff_max_s)
        self._recent.append(self._ran_s)
        self.count += 1
        return now_s + delay

    def used_up(self, exit_code: int, ended_by_us: bool = False) -> bool:
        """Whether it would start again, had it not done so too often."""
        return self._wanted(exit_code, ended_by_us) and len(self._recent) >= self.rule.max

    def _wanted(self, exit_code: int, ended_by_us: bool) -> bool:
        if exit_code in NEVER_AGAIN and not ended_by_us:
            return False
        failed = ended_by_us or exit_code not in FINISHED
        return self.rule.policy == "always" or (self.rule.policy == "on-failure" and failed)
