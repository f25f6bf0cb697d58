"""A driver under test in a process of its own: `python -m nodes.robot.contract WANTED`, WANTED as JSON.

It writes lines of JSON, each a list: `["begin", name]`, `["finding", {...}]`, `["timing", {...}]`, and `["alive"]` every
half second: whoever reads them can tell a driver that hangs with everything else from one that takes its time.
"""

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import msgspec

from nodes.robot.contract.checks import Contract
from nodes.robot.contract.trial import Wanted

ALIVE_S = 0.5


class Lines:
    """Standard output for us alone: what a driver prints goes to standard error."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def write(self, *words: Any) -> None:
        with self._lock:
            os.write(self._out, msgspec.json.encode(words) + b"\n")


def main() -> None:
    """Check, and end at once: a driver that hangs, or a thread that it left behind, keeps nobody."""
    wanted = msgspec.json.decode(sys.argv[1], type=Wanted)
    lines, contract, done = Lines(), Contract(wanted), threading.Event()

    def beat() -> None:
        while not done.wait(ALIVE_S):
            lines.write("alive")

    def interrupted(signum: int, frame: FrameType | None) -> None:
        contract.abandon()
        os._exit(1)

    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, interrupted)
    threading.Thread(target=beat, name="beat", daemon=True).start()
    for finding in contract.run(lambda name: lines.write("begin", name)):
        lines.write("finding", finding)
    lines.write("timing", contract.timing)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
