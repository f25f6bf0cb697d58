"""One process of the bus benchmark: `python -m bench.bus_peers ROLE JSON`.

A publisher reads phases from its standard input, a line of JSON each, and sends their frames; each frame carries its phase
as its episode. A subscriber writes one line of JSON when the last frame of a phase has come. Both sides of `toddle` are
`protocol.bus`; `nodrop` and `acked` are the bare pyzmq loops it is held against, with the same header on the wire.
"""

import json
import math
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import msgspec
import numpy as np
import zmq

from nodes import process
from protocol.bus import Bus
from protocol.codec import DTYPES
from protocol.messages import Frame, Message
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring

ZERO_COPY_BYTES = 450 * 1024
IN_FLIGHT_BYTES = 16 << 20
"""On its way to one subscriber at most, in all loops."""
DISTINCT = 8
MOST_LATENCIES = 5000  # more would fill the pipe to the parent


KINDS = {"reliable": "trainer", "latest": "viewer"}


class Setup(msgspec.Struct, frozen=True):
    """What a process is told."""

    folder: str
    kind: str
    name: str
    subscribers: int
    height: int
    width: int
    lane: str = "reliable"

    @property
    def in_flight(self) -> int:
        """Frames on their way to one subscriber of a bare loop."""
        return max(IN_FLIGHT_BYTES // (self.height * self.width * 3), 4)

    def ends(self, name: str) -> Endpoints:
        return Endpoints(*(f"ipc://{self.folder}/{name}.{lane}" for lane in ("l", "r", "c")))


class Phase(msgspec.Struct, frozen=True):
    """Frames to send: `frames` of them at `rate_hz`, or with rate 0 as many as go in `seconds`; the first after `offset_s`."""

    number: int
    rate_hz: float = 0.0
    frames: int = 0
    seconds: float = 0.0
    offset_s: float = 0.0


Send = Callable[[int, int, np.ndarray[Any, Any], bool], None]
"""Sends a frame: its phase, its number in the phase, its picture, whether it is the phase's last."""


def publish(setup: Setup, send: Send, pause: Callable[[float], None], drain: Callable[[], None] = lambda: None) -> None:
    """Phases from standard input until it ends; `pause` waits some seconds, `drain` until all is sent, as the loop at hand does."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (setup.height, setup.width, 3), np.uint8) for _ in range(DISTINCT)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        phase = msgspec.json.decode(line, type=Phase)
        pause(phase.offset_s)
        used, start_s, number, sending_ns = _cpu_s(), time.monotonic(), 0, 0
        while number < phase.frames or (not phase.frames and time.monotonic() - start_s < phase.seconds):
            if phase.rate_hz:
                pause(max(start_s + number / phase.rate_hz - time.monotonic(), 0))
            before_ns = time.monotonic_ns()
            send(phase.number, number, pictures[number % DISTINCT], False)
            sending_ns += time.monotonic_ns() - before_ns
            number += 1
        wall_s = time.monotonic() - start_s
        send(phase.number, number, pictures[0], True)
        drain()
        _say({"phase": phase.number, "sent": number, "cpu_s": _cpu_s() - used, "wall_s": wall_s, "sending_ms": sending_ns / 1e6})


class Tally:
    """What a subscriber saw of one phase."""

    def __init__(self) -> None:
        self.begin(-1)

    def begin(self, phase: int) -> None:
        self.phase, self.latencies_ns, self.missing, self.expected = phase, [], 0, 0
        self.cpu_s = _cpu_s()
        self.first_ns = time.monotonic_ns()

    def take(self, phase: int, number: int, sent_ns: int, last: bool) -> None:
        now_ns = time.monotonic_ns()
        if phase != self.phase:
            self.begin(phase)
        self.missing += max(number - self.expected, 0)
        self.expected = number + 1
        if not last:
            self.latencies_ns.append(now_ns - sent_ns)
            return
        ms = np.array(self.latencies_ns) / 1e6
        _say({
            "phase": phase, "received": len(ms), "lost": self.missing,
            "wall_s": (now_ns - self.first_ns) / 1e9, "cpu_s": _cpu_s() - self.cpu_s,
            "latency_ms": [round(float(v), 4) for v in ms] if len(ms) <= MOST_LATENCIES else [],
        })  # fmt: skip


# -- toddle ---------------------------------------------------------------------------------------


def toddle_pub(setup: Setup) -> None:
    kind = KINDS[setup.lane]
    wiring = Wiring(
        run="bench", run_dir=setup.folder, name="pub", kind="robot", endpoints=setup.ends("pub"),
        subscribers=[Subscriber(f"sub{index}", kind) for index in range(setup.subscribers)],
    )  # fmt: skip
    bus = Bus(wiring)
    bus.start()
    while bus.status().missing:
        bus.next(0.01)

    def send(phase: int, number: int, picture: np.ndarray[Any, Any], last: bool) -> None:
        bus.publish("frame", Frame(last=last), {"image/top": picture}, episode=phase, step=number)

    publish(setup, send, time.sleep)
    bus.close()


def toddle_sub(setup: Setup) -> None:
    kind = KINDS[setup.lane]
    inputs = [Peer("pub", "robot", setup.ends("pub"))]
    bus = Bus(Wiring(run="bench", run_dir=setup.folder, name=setup.name, kind=kind, endpoints=setup.ends(setup.name), inputs=inputs))
    bus.start()
    bus.subscribe()
    tally = Tally()
    while not bus.inputs_ended():
        message = bus.next(0.5)
        if isinstance(message, Message) and message.kind == "frame":
            envelope = message.envelope
            assert envelope.episode is not None and envelope.step is not None
            tally.take(envelope.episode, envelope.step, envelope.mono_ns, message.body.last)
    bus.close()


# -- bare loops -----------------------------------------------------------------------------------


def _header(phase: int, number: int, picture: np.ndarray[Any, Any], last: bool) -> bytes:
    envelope = {
        "topic": "frame/pub", "source": "pub", "run": "0123456789ab", "seq": number, "t_ns": time.time_ns(), "mono_ns": time.monotonic_ns(),
        "session": None, "episode": phase, "step": number,
    }  # fmt: skip
    plain = {"v": 1, "envelope": envelope, "body": {"held_out": False, "last": last}, "arrays": [("image/top", "uint8", picture.shape)]}
    return bytes(msgpack.packb(plain))


def _take(tally: Tally, topic: Any, header: Any, buffer: Any) -> None:
    """Check what came as a careful loop would: nothing is believed that the header says of the buffer."""
    plain = msgpack.unpackb(header, strict_map_key=True, max_array_len=64, max_map_len=64)
    envelope, (_, dtype, shape) = plain["envelope"], plain["arrays"][0]
    sound = plain["v"] == 1 and dtype in DTYPES and envelope["topic"].encode() == topic
    if not sound or math.prod(shape) * DTYPES[dtype].itemsize != len(buffer):
        raise ValueError("not a message")
    np.frombuffer(buffer, dtype).reshape(shape)
    tally.take(envelope["episode"], envelope["step"], envelope["mono_ns"], plain["body"]["last"])


def nodrop_pub(setup: Setup) -> None:
    """XPUB that waits when a subscriber's queue is full: nothing is lost, nothing can be asked for again."""
    context: zmq.Context[Any] = zmq.Context()
    socket = _socket(context, zmq.XPUB, setup.in_flight)
    socket.setsockopt(zmq.XPUB_NODROP, 1)
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    socket.bind(f"ipc://{setup.folder}/bare")
    for _ in range(setup.subscribers):
        socket.recv()

    def send(phase: int, number: int, picture: np.ndarray[Any, Any], last: bool) -> None:
        socket.send_multipart([b"frame/pub", _header(phase, number, picture, last), picture.reshape(-1).data], copy=False)

    publish(setup, send, time.sleep)
    context.destroy(1000)


def nodrop_sub(setup: Setup) -> None:
    context: zmq.Context[Any] = zmq.Context()
    socket = _socket(context, zmq.SUB, setup.in_flight)
    socket.subscribe(b"frame/pub")
    socket.connect(f"ipc://{setup.folder}/bare")
    tally = Tally()
    while True:
        parts = socket.recv_multipart(copy=False)
        _take(tally, parts[0].bytes, parts[1].buffer, parts[2].buffer)


class _Acked:
    """ROUTER with a ring and a window per subscriber: nothing is lost, and what is in the ring can be asked for again."""

    def __init__(self, setup: Setup) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.socket = _socket(self.context, zmq.ROUTER, 0)
        self.socket.bind(f"ipc://{setup.folder}/bare")
        self.window, self.room = setup.in_flight, 2 * setup.in_flight
        self.next, self.acked = {}, {}
        for _ in range(setup.subscribers):
            identity = self.socket.recv_multipart()[0]
            self.next[identity], self.acked[identity] = 0, -1
        self.ring: deque[list[Any]] = deque()
        self.first = 0

    @property
    def end(self) -> int:
        return self.first + len(self.ring)

    def listen(self, timeout_ms: int) -> None:
        while self.socket.poll(timeout_ms):
            identity, said = self.socket.recv_multipart()
            self.acked[identity] = int.from_bytes(said, "big")
            timeout_ms = 0

    def feed(self) -> None:
        for identity, index in self.next.items():
            while index < self.end and index - self.acked[identity] <= self.window:
                self.socket.send_multipart([identity, *self.ring[index - self.first]], copy=False)
                index += 1
            self.next[identity] = index

    def send(self, phase: int, number: int, picture: np.ndarray[Any, Any], last: bool) -> None:
        while len(self.ring) >= self.room:
            if min(self.acked.values()) >= self.first:
                self.ring.popleft()
                self.first += 1
            else:
                self.listen(1000)
                self.feed()
        index = self.end.to_bytes(8, "big")
        self.ring.append([index, b"frame/pub", _header(phase, number, picture, last), picture.reshape(-1).data])
        self.listen(0)
        self.feed()

    def pause(self, seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            if left_s < 0.001:
                time.sleep(left_s)
            elif self.socket.poll(int(left_s * 1000)):
                self.listen(0)
                self.feed()

    def drain(self) -> None:
        while min(self.acked.values()) < self.end - 1:
            self.listen(1000)
            self.feed()


def acked_pub(setup: Setup) -> None:
    loop = _Acked(setup)
    publish(setup, loop.send, loop.pause, loop.drain)
    loop.context.destroy(1000)


def acked_sub(setup: Setup) -> None:
    context: zmq.Context[Any] = zmq.Context()
    socket = _socket(context, zmq.DEALER, 0)
    socket.connect(f"ipc://{setup.folder}/bare")
    socket.send(b"hello")
    tally, waiting, index, every = Tally(), 0, b"", max(setup.in_flight // 4, 1)
    while True:
        if waiting >= every or (waiting and not socket.poll(50)):
            socket.send(index)
            waiting = 0
        parts = socket.recv_multipart(copy=False)
        index = parts[0].bytes
        _take(tally, parts[1].bytes, parts[2].buffer, parts[3].buffer)
        waiting += 1


def _socket(context: zmq.Context[Any], kind: int, hwm: int) -> zmq.Socket[Any]:
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.copy_threshold = ZERO_COPY_BYTES
    socket.set_hwm(hwm)
    return socket


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _say(result: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


def roles() -> Iterator[tuple[str, Callable[[Setup], None]]]:
    for role in (toddle_pub, toddle_sub, nodrop_pub, nodrop_sub, acked_pub, acked_sub):
        yield role.__name__, role


if __name__ == "__main__":
    process.keep_memory()  # as every node does, and for all loops alike
    dict(roles())[sys.argv[1]](msgspec.json.decode(sys.argv[2], type=Setup))
