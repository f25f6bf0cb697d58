"""One node of dora-rs in the bus benchmark: `python -m bench.dora_peers ROLE JSON`, started by `dora run`.

It takes phases and answers on a socket in the folder, since standard input and output are dora's.
"""

import socket
import sys
import time
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from dora import Node

from bench.bus_peers import Setup, Tally, publish

QUIET_S = 0.5
LAST_WORDS = 3
"""The last frame of a phase comes after a quiet time, and again: it must not be among those that dora drops."""


class _Tally(Tally):
    """The quiet time before the last frame is not counted."""

    def __init__(self) -> None:
        super().__init__()
        self.newest_ns = 0
        self.ended: set[int] = set()

    def take(self, phase: int, number: int, sent_ns: int, last: bool) -> None:
        now_ns = time.monotonic_ns()
        if phase in self.ended:
            return
        if last:
            self.ended.add(phase)
        if last and phase == self.phase:
            self.first_ns += now_ns - self.newest_ns
        self.newest_ns = now_ns
        super().take(phase, number, sent_ns, last)


def pub(setup: Setup) -> None:
    node = Node()

    def send(phase: int, number: int, picture: np.ndarray[Any, Any], last: bool) -> None:
        metadata = {
            "topic": "frame/pub", "source": "pub", "run": "0123456789ab", "seq": number,
            "t_ns": time.time_ns(), "mono_ns": time.monotonic_ns(),
            "episode": phase, "step": number, "last": last, "dtype": "uint8", "shape": list(picture.shape),
        }  # fmt: skip
        for _ in range(LAST_WORDS if last else 1):
            if last:
                time.sleep(QUIET_S)
            node.send_output("frame", pa.array(picture.reshape(-1)), metadata)

    publish(setup, send, time.sleep)


def sub(setup: Setup) -> None:
    tally = _Tally()
    for event in Node():
        if event["type"] == "STOP":
            return
        if event["type"] != "INPUT":
            continue
        said = event["metadata"]
        event["value"].to_numpy(zero_copy_only=True).reshape(said["shape"])
        tally.take(said["episode"], said["step"], said["mono_ns"], said["last"])


if __name__ == "__main__":
    told = msgspec.json.decode(sys.argv[2], type=Setup)
    ours = socket.socket(socket.AF_UNIX)
    ours.connect(f"{told.folder}/bench")
    sys.stdin, sys.stdout = ours.makefile("r"), ours.makefile("w")
    sys.stdout.write(f"{told.name}\n")
    sys.stdout.flush()
    {"pub": pub, "sub": sub}[sys.argv[1]](told)
