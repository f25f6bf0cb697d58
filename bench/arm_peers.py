"""An arm whose transactions are timed: a driver for `python -m bench arm`."""

import json
import os
import time
from pathlib import Path

from nodes.robot.arm.driver import SO101
from nodes.robot.interface import Observation, Options
from protocol.messages import Action

TIMES = "TODDLE_BENCH_TIMES"
"""Of the environment: the file that is written at the end."""


class TimedArm(SO101):
    """Of each step: when it began to observe, how long lerobot took for it, and for the action before it."""

    def __init__(self, options: Options, seed: int) -> None:
        super().__init__(options, seed)
        self._steps: list[tuple[int, int]] = []
        self._acted_ns = 0

    def observe(self) -> Observation:
        begin_ns = time.monotonic_ns()
        seen = super().observe()
        self._steps.append((begin_ns, time.monotonic_ns() - begin_ns))
        return seen

    def execute(self, action: Action) -> bool:
        begin_ns = time.monotonic_ns()
        done = super().execute(action)
        begun_ns, took_ns = self._steps[-1]
        self._steps[-1] = begun_ns, took_ns + time.monotonic_ns() - begin_ns
        return done

    def close(self) -> None:
        Path(os.environ[TIMES]).write_text(json.dumps(self._steps))
        super().close()
