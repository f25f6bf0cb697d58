"""The arm that writes down when it looked, and the bare loop beside it."""

import json
import os
import sys
import time
from pathlib import Path

from nodes.robot.arm import SO101
from nodes.robot.interface import Observation, Options

LOOKS = "TODDLE_BENCH_LOOKS"


class MeasuredArm(SO101):
    """Writes the monotonic begin and end of each observation to the file that LOOKS names, at its end."""

    def __init__(self, options: Options, seed: int) -> None:
        self._looks: list[tuple[int, int]] = []
        super().__init__(options, seed)

    def observe(self) -> Observation:
        begin_ns = time.monotonic_ns()
        seen = super().observe()
        self._looks.append((begin_ns, time.monotonic_ns()))
        return seen

    def close(self) -> None:
        Path(os.environ[LOOKS]).write_text(json.dumps(self._looks))
        super().close()


def sleep_loop(rate_hz: float, seconds: float) -> list[int]:
    """Monotonic times at which a loop that does nothing comes round, without drift."""
    due_s, period_s = time.monotonic(), 1 / rate_hz
    end_s, woke_ns = due_s + seconds, []
    while due_s < end_s:
        time.sleep(max(due_s - time.monotonic(), 0.0))
        woke_ns.append(time.monotonic_ns())
        due_s += period_s
    return woke_ns


if __name__ == "__main__":
    sys.stdout.write(json.dumps(sleep_loop(float(sys.argv[1]), float(sys.argv[2]))))
