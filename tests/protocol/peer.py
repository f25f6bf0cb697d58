"""A node in a process of its own, to be killed: `python peer.py WIRING publish|take [FILE]`."""

import sys
import time
from pathlib import Path

import numpy as np

from protocol import messages as m
from protocol.books import Resume
from protocol.bus import Bus
from protocol.wiring import read_wiring


def publish(bus: Bus, count: int) -> None:
    """Frames as fast as they go; stays alive, beating, after the last."""
    bus.subscribe()
    while bus.status().missing:
        bus.next(0.01)
    for step in range(count):
        bus.publish("frame", m.Frame(), {"image/top": np.full((32, 32, 3), step % 256, np.uint8)}, episode=0, step=step)
        bus.next(0)
    while True:
        bus.next(1.0)


def take(bus: Bus, path: Path) -> None:
    """Writes down every frame as it is handled; a restart goes on behind the last line."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    resume = {}
    if lines:
        run, seq = lines[-1].split()
        resume = {"frame/robot": Resume(run, int(seq) + 1)}
    with path.open("a") as out:
        bus.subscribe(resume)
        while True:
            thing = bus.next(1.0)
            if isinstance(thing, m.Message) and thing.kind == "frame":
                out.write(f"{thing.envelope.run} {thing.envelope.seq}\n")
                out.flush()
                time.sleep(0.0005)  # slow enough to be killed in the middle


def main() -> None:
    bus = Bus(read_wiring(Path(sys.argv[1])))
    bus.start()
    if sys.argv[2] == "publish":
        publish(bus, int(sys.argv[3]))
    else:
        take(bus, Path(sys.argv[3]))


if __name__ == "__main__":
    main()
