"""A publisher of the real bus whose messages are what their number says: `python numbered_publisher.py WIRING RATE_HZ`.

A robot publishes frames, any other kind metrics, both at a rate at most, until its standard input ends; then it says how many.
"""

import sys
import threading
import time
from pathlib import Path

import numpy as np

from protocol.bus import Bus
from protocol.messages import Body, Frame, Message, Metrics
from protocol.wiring import read_wiring

NOISE = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
STEPS = 32


def content(kind: str, number: int) -> tuple[Body, dict[str, np.ndarray]]:
    """Body and arrays of message `number`: a frame of 0.9 MB that differs from all others, or a few numbers."""
    if kind != "frame":
        return Metrics(values={"number": float(number), "third": number / 3}), {}
    image = NOISE.copy()
    image[number % 480] = 255 - image[number % 480]
    image[0, :8, 0] = np.frombuffer(number.to_bytes(8, "big"), dtype=np.uint8)
    return Frame(), {"image/top": image}


def is_right(message: Message) -> bool:
    """Whether a message is the one of its number, byte for byte."""
    body, arrays = content(message.kind, message.envelope.seq)
    if message.body != body or message.arrays.keys() != arrays.keys():
        return False
    return all(np.array_equal(array, message.arrays[name]) for name, array in arrays.items())


def main() -> None:
    wiring, rate_hz = read_wiring(Path(sys.argv[1])), float(sys.argv[2])
    kind = "frame" if wiring.kind == "robot" else "metrics"
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    bus = Bus(wiring)
    bus.start()
    while bus.status().missing and not over.is_set():
        bus.next(0.01)
    start_s, number = time.monotonic(), 0
    while not over.is_set():
        body, arrays = content(kind, number)
        bus.publish(kind, body, arrays, episode=number // STEPS, step=number % STEPS)
        number += 1
        while (early_s := start_s + number / rate_hz - time.monotonic()) > 0 and not over.is_set():
            bus.next(min(early_s, 0.05))
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()
    bus.close()


if __name__ == "__main__":
    main()
