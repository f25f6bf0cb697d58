"""From where on a recording is not fit to learn from. Light, so that `--help` can show it."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Shares are 0 to 1. `max_jitter`: by how much of its period the 99th percentile of the intervals may be late.

    `max_duplicates`: of the steps in which the robot was told to move, the share whose frame did not change. `min_steps`:
    frame, action, next frame. Rate and jitter are judged where the robot keeps the time (`paced`).
    """

    max_gaps: float = 0.01
    min_rate: float = 0.9
    max_jitter: float = 0.5
    max_frozen_s: float = 2.0
    max_dark: float = 0.05
    max_saturated: float = 0.05
    max_duplicates: float = 0.05
    min_steps: int = 100
    allow_untaken: bool = False
    allow_unfinished: bool = False
