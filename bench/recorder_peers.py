"""One process of the recorder benchmark: `python -m bench.recorder_peers ROLE JSON`.

`pub` publishes on the real bus to a real recorder, in phases as in `bench.bus_peers`. `bare_pub` and `bare_sub` are the loop that
the recorder is held against: the same frames with the same header and window, each with its CRC32C appended to a file,
which is synced at the recorder's interval.
"""

import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import crc32c
import msgspec
import numpy as np
import zmq

from bench.bus_peers import Setup, acked_pub, publish
from nodes.recorder.config import RecorderConfig
from protocol.bus import Bus
from protocol.messages import Frame, Metrics
from protocol.wiring import Endpoints, Subscriber, Wiring

SYNC_S = RecorderConfig().sync_interval_s
IDLE_MS = 50
SMALL = {f"number_{index}": index / 7 for index in range(8)}
"""What a small message says: about as long as a trainer's metrics."""


class Publisher(msgspec.Struct, frozen=True):
    """What a publisher is told; without a height it publishes small messages."""

    folder: str
    name: str
    on_full: str
    ring_bytes: int
    height: int = 0
    width: int = 0

    @property
    def kind(self) -> str:
        return "robot" if self.height else "trainer"


def ends(folder: str, name: str) -> Endpoints:
    """Where a process of this benchmark is to be found."""
    return Endpoints(*(f"ipc://{folder}/{name}.{lane}" for lane in ("l", "r", "c")))


def pub(told: Publisher) -> None:
    wiring = Wiring(
        run="bench", run_dir=told.folder, name=told.name, kind=told.kind, endpoints=ends(told.folder, told.name),
        subscribers=[Subscriber("recorder", "recorder")], ring_bytes=told.ring_bytes, on_full=told.on_full,  # type: ignore[arg-type]
    )  # fmt: skip
    bus = Bus(wiring)
    bus.start()
    while bus.status().missing:
        bus.next(0.01)

    def send(phase: int, number: int, picture: np.ndarray[Any, Any], last: bool) -> None:
        if told.height:
            bus.publish("frame", Frame(last=last), {"image/top": picture}, episode=phase, step=number)
        else:
            bus.publish("metrics", Metrics(values=SMALL), step=number)

    def drain() -> None:
        while not bus.ring.drained():
            bus.next(0.002)

    publish(Setup(told.folder, "", "", 1, max(told.height, 1), max(told.width, 1)), send, time.sleep, drain)
    bus.close()


def bare_sub(setup: Setup) -> None:
    """Receive and acknowledge as `acked_sub` does, add CRC32C, append, sync: what cannot be left out."""
    context: zmq.Context[Any] = zmq.Context()
    socket: zmq.Socket[Any] = context.socket(zmq.DEALER)
    socket.set_hwm(0)
    socket.connect(f"ipc://{setup.folder}/bare")
    socket.send(b"hello")
    file = os.open(Path(setup.folder, "bare.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    synced_s, owed, waiting, index, every = time.monotonic(), False, 0, b"", max(setup.in_flight // 4, 1)
    while True:
        if owed and time.monotonic() - synced_s >= SYNC_S:
            os.fdatasync(file)
            synced_s, owed = time.monotonic(), False
        if waiting >= every or (waiting and not socket.poll(IDLE_MS)):
            socket.send(index)
            waiting = 0
        if owed and not waiting and not socket.poll(IDLE_MS):
            continue
        parts = socket.recv_multipart(copy=False)
        index, header, buffer = parts[0].bytes, parts[2].buffer, parts[3].buffer
        crc = crc32c.crc32c(buffer, crc32c.crc32c(header))
        os.writev(file, [struct.pack(">IIQ", crc, len(header), len(buffer)), header, buffer])
        waiting, owed = waiting + 1, True


ROLES: dict[str, tuple[Callable[[Any], None], type[msgspec.Struct]]] = {
    "pub": (pub, Publisher), "bare_pub": (acked_pub, Setup), "bare_sub": (bare_sub, Setup),
}  # fmt: skip

if __name__ == "__main__":
    role, form = ROLES[sys.argv[1]]
    role(msgspec.json.decode(sys.argv[2], type=form))
