"""What a JetBot is told when, how fresh its pictures are, and how long to wait for it. Pure."""

from collections.abc import Iterator
from itertools import count

RENEW_S = 0.15
"""A speed that is held is said again so often: the JetBot stops by itself when it hears nothing."""

Setting = tuple[float, float, float]
"""Seconds after the beginning, left, right."""


def ramp(left: float, right: float, duration_s: float, steps: int, step_s: float) -> list[Setting]:
    """An action from standing to standing: up in `steps`, held until `duration_s`, down in as many. Empty for one that stands.

    It stands again after `duration_s` and all but the last of the ramp's steps: with that one, a ramp takes `steps` times `step_s`.
    """
    if not (left or right):
        return []
    down_s = max(duration_s, steps * step_s)
    up = [(k * step_s, (k + 1) / steps) for k in range(steps)]
    held_from_s = steps * step_s
    held = [(at_s, 1.0) for n in range(int((down_s - held_from_s) / RENEW_S) + 1) if (at_s := held_from_s + n * RENEW_S) < down_s]
    down = [(down_s + k * step_s, 1 - (k + 1) / steps) for k in range(steps)]
    return [(at_s, left * share, right * share) for at_s, share in [*up, *held, *down]]


def length_s(duration_s: float, steps: int, step_s: float) -> float:
    """How long an action takes, one that stands too; 0 for one that has no duration."""
    return max(duration_s, steps * step_s) + (steps - 1) * step_s if duration_s else 0.0


def backoff(first_s: float = 0.1, most_s: float = 2.0) -> Iterator[float]:
    """Seconds to wait before each try: doubled each time."""
    return (min(first_s * 2.0**n, most_s) for n in count())


class Freshness:
    """Whether pictures still change. The same one for `frozen_s` is a camera that hangs; 0: never."""

    def __init__(self, frozen_s: float) -> None:
        self._frozen_s = frozen_s
        self._last = b""
        self._since_s = 0.0
        self._times = 0

    def same_for_s(self, picture: bytes, now_s: float) -> float:
        """A picture came: for how long it has been the same one, 0 unless that is too long."""
        if picture != self._last:
            self._last, self._since_s, self._times = picture, now_s, 0
        self._times += 1
        for_s = now_s - self._since_s
        return for_s if self._times > 2 and 0 < self._frozen_s <= for_s else 0.0
