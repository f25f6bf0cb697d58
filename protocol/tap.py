"""A listener on the latest lanes of a running graph, of which the graph knows nothing.

    with Tap(peers, ["frame/robot", "status/robot"], newest=["status/robot"]) as tap:
        heard = tap.next(timeout_s=1.0)

A plain SUB per publisher: no hello, no books, no acknowledgements, so neither readiness nor any summary
changes by it. A publisher drops what a tap that stalls has no room for, and drops it for the tap alone.
"""

import math
import time
from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Self

import zmq

from protocol import codec, sockets
from protocol.clock import Clock, SystemClock
from protocol.errors import DecodeError, ProtocolError
from protocol.keys import KeyPair
from protocol.messages import Message
from protocol.publishing import AGAIN
from protocol.topics import topic_of
from protocol.wiring import Peer


@dataclass(frozen=True)
class Heard:
    """A message, its size on the wire, and when it came by our clocks."""

    message: Message
    nbytes: int
    wall_ns: int
    mono_ns: int


class Tap:
    """Hears `topics` of `peers`, where they have keys in the name of `own`.

    Of those in `newest` a publisher that has a value sends it again at once.
    """

    def __init__(
        self,
        peers: Iterable[Peer],
        topics: Collection[str],
        newest: Collection[str] = (),
        clock: Clock | None = None,
        own: KeyPair | None = None,
    ) -> None:
        self._own = own
        self.refused: dict[str, int] = {}
        self.skipped: dict[str, int] = {}
        self._clock: Clock = clock or SystemClock()
        self._last: dict[str, tuple[str, int]] = {}
        self._ready: deque[zmq.Socket[Any]] = deque()
        self._names: dict[zmq.Socket[Any], str] = {}
        self._context: zmq.Context[Any] = zmq.Context()
        self._poller = zmq.Poller()
        try:
            for peer in peers:
                wanted = [topic for topic in topics if topic.partition("/")[2] == peer.name]
                if wanted:
                    self._open(peer, wanted, [topic for topic in wanted if topic in newest])
        except ProtocolError:
            self.close()
            raise

    def _open(self, peer: Peer, topics: list[str], newest: list[str]) -> None:
        socket = sockets.subscriber(self._context, sockets.LATEST_HWM, max(topic_of(topic).max_bytes for topic in topics))
        self._names[socket] = peer.name
        for topic in [*topics, *(AGAIN + topic for topic in newest)]:  # before connecting: told whenever the publisher comes
            socket.subscribe(topic)
        if self._own is not None and peer.key:
            self._own.call(socket, peer.key)
        sockets.suit_tcp(socket, peer.endpoints.latest)
        try:
            socket.connect(peer.endpoints.latest)
        except zmq.ZMQError as error:
            raise ProtocolError(
                f"{peer.name} cannot be reached at {peer.endpoints.latest[:120]!r}: {zmq.strerror(error.errno or 0)}"
            ) from None
        self._poller.register(socket, zmq.POLLIN)

    def next(self, timeout_s: float) -> Heard | None:
        """The next message, or None after `timeout_s`; what came before is passed over, what is no message is counted."""
        until_s = time.monotonic() + timeout_s
        while True:
            if not self._ready:
                wait_ms = math.ceil(max(until_s - time.monotonic(), 0.0) * 1000)
                self._ready.extend(socket for socket, _ in self._poller.poll(wait_ms))
            if not self._ready:
                return None
            socket = self._ready.popleft()
            heard = self._receive(socket)
            if heard is not None:
                return heard

    def _receive(self, socket: zmq.Socket[Any]) -> Heard | None:
        try:
            frames = socket.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return None
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        self._ready.append(socket)  # there may be more
        parts = [frame.buffer for frame in frames]
        try:
            message = codec.decode(parts)
            if message.topic.partition("/")[2] != self._names[socket]:
                raise DecodeError("topic", f"{message.topic!r} came from {self._names[socket]!r}")
        except DecodeError as error:
            self.refused[error.reason] = self.refused.get(error.reason, 0) + 1
            return None
        return Heard(message, sum(map(len, parts)), wall_ns, mono_ns) if self._is_new(message) else None

    def _is_new(self, message: Message) -> bool:
        """False for a repetition, which a publisher sends to all when anybody asks for its newest again."""
        topic, run, seq = message.topic, message.envelope.run, message.envelope.seq
        last_run, last_seq = self._last.get(topic, ("", -1))
        if run == last_run and seq <= last_seq:
            return False
        if run == last_run:
            self.skipped[topic] = self.skipped.get(topic, 0) + seq - last_seq - 1
        self._last[topic] = run, seq
        return True

    def close(self) -> None:
        """Leave; nothing of the tap remains anywhere. Idempotent."""
        self._context.destroy(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
