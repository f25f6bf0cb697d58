"""One node of the overhead benchmark: `python -m bench.overhead_peers WIRING all|none`, on the runtime of every node.

With `none` it does the same work and says nothing about it: no heartbeats, no metrics, no page of them, no log.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from nodes import runtime
from protocol import bus_thread
from protocol.messages import Frame
from protocol.wiring import read_wiring

RATE_HZ = 30.0
NUMBERS = {f"number_{index}": index / 7 for index in range(6)}


class Source(runtime.Node):
    """30 frames a second; with `all` numbers with each, and a line in the log every second."""

    told = True

    def go(self) -> None:
        self.count, self.start_s = 0, time.monotonic()

    def tick(self) -> float:
        while (left_s := self.start_s + self.count / RATE_HZ - time.monotonic()) <= 0:
            self.publish("frame", Frame(), {"image/top": np.zeros((64, 64, 3), np.uint8)}, step=self.count)
            if self.told:
                self.metrics(NUMBERS, step=self.count)
                if self.count % RATE_HZ == 0:
                    self.log.info("%d frames sent", self.count)
            self.count += 1
        return left_s


class Sink(runtime.Node):
    """Takes what comes."""

    def on_frame(self, message: Any) -> None: ...


def quiet() -> None:
    """Take out of the runtime what is to be weighed; the first beat stays, so that nodes find each other."""
    bus_thread.HEARTBEAT_S = 1e6
    runtime.start_logging = lambda wiring, bus: lambda: None
    runtime._show_metrics = lambda node: None
    Source.told = False


if __name__ == "__main__":
    wiring = read_wiring(Path(sys.argv[1]))
    if sys.argv[2] == "none":
        quiet()
    sys.exit(runtime.run_node(Source if wiring.subscribers else Sink, wiring, None))
