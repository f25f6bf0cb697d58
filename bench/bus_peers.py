"""One process of the bus benchmark: `python -m bench.bus_peers ROLE JSON`.

A publisher reads phases from its standard input, a line of JSON each, and sends their frames; each frame carries its phase
as its episode. A subscriber writes one line of JSON when the last frame of a phase has come. Both sides of `toddle` are
`protocol.bus`; `nodrop` and `acked` are the bare pyzmq loops it is held against, with the same header on the wire.
"""

import json
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

from protocol.bus import Bus
from protocol.messages import Frame, Message
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring

ZERO_COPY_BYTES = 450 * 1024
HWM = 4  # of the bare loop, as measured best
WINDOW = 16
RING = 64
ACK_EVERY = 4
DISTINCT = 8


class Setup(msgspec.Struct, frozen=True):
    """What a process is told."""

    folder: str
    kind: str
    name: str
    subscribers: int
    height: int
    width: int
    lane: str = "reliable"

    def ends(self, name: str) -> Endpoints:
        return Endpoints(*(f"ipc://{self.folder}/{name}.{lane}" for lane in ("l", "r", "c")))


class Phase(msgspec.Struct, frozen=True):
    """Frames to send: `frames` of them at `rate_hz`, or with rate 0 as many as go in `seconds`."""

    number: int
    rate_hz: float = 0.0
    frames: int = 0
    seconds: float = 0.0


Send = Callable[[int, int, np.ndarray[Any, Any], bool], None]
"""Sends a frame: its phase, its number in the phase, its picture, whether it is the phase's last."""


def publish(setup: Setup, send: Send, pause: Callable[[float], None], drain: Callable[[], None] = lambda: None) -> None:
    """Phases from standard input until it ends; `pause` waits a time, in seconds, and `drain` until all is sent, as the loop at hand does."""
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (setup.height, setup.width, 3), np.uint8) for _ in range(DISTINCT)]
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        phase = msgspec.json.decode(line, type=Phase)
        used, start_s, number = _cpu_s(), time.monotonic(), 0
        while number < phase.frames or (not phase.frames and time.monotonic() - start_s < phase.seconds):
            if phase.rate_hz:
                pause(max(start_s + number / phase.rate_hz - time.monotonic(), 0))
            send(phase.number, number, pictures[number % DISTINCT], False)
            number += 1
        wall_s = time.monotonic() - start_s
        send(phase.number, number, pictures[0], True)
        drain()
        _say({"phase": phase.number, "sent": number, "cpu_s": _cpu_s() - used, "wall_s": wall_s})


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
            "phase": phase, "received": len(ms), "lost": self.missing, "wall_s": (now_ns - self.first_ns) / 1e9, "cpu_s": _cpu_s() - self.cpu_s,
            "latency_ms": [round(float(v), 4) for v in ms],
        })  # fmt: skip


# -- toddle ---------------------------------------------------------------------------------------


def toddle_pub(setup: Setup) -> None:
    kind = "trainer" if setup.lane == "reliable" else "viewer"
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
    kind = "trainer" if setup.lane == "reliable" else "viewer"
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


def _take(tally: Tally, header: Any, buffer: Any) -> None:
    plain = msgpack.unpackb(header)
    envelope, (_, dtype, shape) = plain["envelope"], plain["arrays"][0]
    np.frombuffer(buffer, dtype).reshape(shape)
    tally.take(envelope["episode"], envelope["step"], envelope["mono_ns"], plain["body"]["last"])


def nodrop_pub(setup: Setup) -> None:
    """XPUB that waits when a subscriber's queue is full: nothing is lost, nothing can be asked for again."""
    context: zmq.Context[Any] = zmq.Context()
    socket = _socket(context, zmq.XPUB)
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
    socket = _socket(context, zmq.SUB)
    socket.subscribe(b"frame/pub")
    socket.connect(f"ipc://{setup.folder}/bare")
    tally = Tally()
    while True:
        parts = socket.recv_multipart(copy=False)
        _take(tally, parts[1].buffer, parts[2].buffer)


def acked_pub(setup: Setup) -> None:
    """ROUTER with a ring and a window per subscriber: nothing is lost, and what is in the ring can be asked for again."""
    context: zmq.Context[Any] = zmq.Context()
    socket = _socket(context, zmq.ROUTER)
    socket.set_hwm(0)
    socket.bind(f"ipc://{setup.folder}/bare")
    readers = {socket.recv_multipart()[0]: [0, -1] for _ in range(setup.subscribers)}  # identity: next, acknowledged
    ring: deque[list[Any]] = deque()
    first = 0

    def listen(timeout_ms: int) -> None:
        while socket.poll(timeout_ms):
            identity, said = socket.recv_multipart()
            readers[identity][1] = int.from_bytes(said, "big")
            timeout_ms = 0

    def feed() -> None:
        for identity, reader in readers.items():
            while reader[0] < first + len(ring) and reader[0] - reader[1] <= WINDOW:
                socket.send_multipart([identity, *ring[reader[0] - first]], copy=False)
                reader[0] += 1

    def send(phase: int, number: int, picture: np.ndarray[Any, Any], last: bool) -> None:
        nonlocal first
        while len(ring) >= RING:
            if min(reader[1] for reader in readers.values()) >= first:
                ring.popleft()
                first += 1
            else:
                listen(1000)
                feed()
        index = (first + len(ring)).to_bytes(8, "big")
        ring.append([index, b"frame/pub", _header(phase, number, picture, last), picture.reshape(-1).data])
        listen(0)
        feed()

    def pause(seconds: float) -> None:
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0:
            listen(0) if socket.poll(max(int(left_s * 1000), 1)) else None
            feed()

    def drain() -> None:
        while any(reader[1] < first + len(ring) - 1 for reader in readers.values()):
            listen(1000)
            feed()

    publish(setup, send, pause, drain)
    context.destroy(1000)


def acked_sub(setup: Setup) -> None:
    context: zmq.Context[Any] = zmq.Context()
    socket = _socket(context, zmq.DEALER)
    socket.set_hwm(0)
    socket.connect(f"ipc://{setup.folder}/bare")
    socket.send(b"hello")
    tally, waiting = Tally(), 0
    while True:
        if waiting and not socket.poll(50):
            waiting = _ack(socket, index)
        parts = socket.recv_multipart(copy=False)
        index = parts[0].bytes
        _take(tally, parts[2].buffer, parts[3].buffer)
        waiting += 1
        if waiting >= ACK_EVERY:
            waiting = _ack(socket, index)


def _ack(socket: zmq.Socket[Any], index: bytes) -> int:
    socket.send(index)
    return 0


def _socket(context: zmq.Context[Any], kind: int) -> zmq.Socket[Any]:
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.copy_threshold = ZERO_COPY_BYTES
    socket.set_hwm(HWM)
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
    dict(roles())[sys.argv[1]](msgspec.json.decode(sys.argv[2], type=Setup))
