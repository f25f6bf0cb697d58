"""The publishing side of a node's sockets. Not locked: `bus.lock` is held around every call.

Latest lane: an XPUB. It drops what a full queue has no room for, so a subscriber that misses the number a
heartbeat told asks for the newest again, by subscribing to `~again/<topic>`. Reliable lane: a ROUTER that
feeds each subscriber from the ring within a window of unacknowledged bytes. Readiness: a subscriber
subscribes to `~hello/<name>` after its topics, which the XPUB sees.
"""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import zmq

from protocol import sockets
from protocol.codec import MAX_TOPIC_BYTES, Buffer
from protocol.errors import DecodeError
from protocol.topics import LATEST, TOPICS, published_by, topic_of

if TYPE_CHECKING:
    from protocol.bus import Bus
    from protocol.guarding import Guard
    from protocol.ring import Entry

HELLO = "~hello/"
AGAIN = "~again/"
DATA, WHO = b"d", b"?"
MAX_GREETED = 512


class _Word(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a reliable subscriber says; the numbers count in `run`."""

    t: Literal["hello", "ack", "bye"]
    name: str
    run: str
    index: int = -1
    kinds: list[str] = []
    resume: dict[str, int] = {}


_WORDS = msgspec.msgpack.Decoder(_Word)


class Publishing:
    """An XPUB and a ROUTER; `beat_now` is set when a heartbeat should not wait."""

    def __init__(self, bus: Bus, beat_now: Event, guard: Guard) -> None:
        self.bus, self._guard = bus, guard
        self._beat_now = beat_now
        self._newest: dict[str, list[Buffer]] = {}
        own = [(row, f"{row.kind}/{bus.wiring.name}") for row in published_by(bus.wiring.kind)]
        self._kept = {topic for row, topic in own if LATEST in row.takers.values()}
        self._topics = {topic for _, topic in own}
        self._wanted: set[str] = set()
        self._prefixes: set[str] = set()
        self._greeted: set[str] = set()
        self._identities: dict[bytes, str] = {}

    def bind(self, context: zmq.Context[Any], patience_s: float) -> None:
        ends = self.bus.wiring.endpoints
        self.xpub = sockets.bind(context, zmq.XPUB, ends.latest, sockets.LATEST_HWM, self._guard, patience_s)
        self.xpub.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.router = sockets.bind(context, zmq.ROUTER, ends.reliable, sockets.RECEIVE_HWM, self._guard, patience_s)
        self.router.setsockopt(zmq.ROUTER_MANDATORY, 1)

    def confirmed(self) -> set[str]:
        """Subscribers whose subscriptions have arrived, on every lane they take topics by."""
        readers = self.bus.ring.readers
        return {name for name in self._greeted if name not in readers or readers[name].connected}

    def send(self, topic: str, parts: list[Buffer], entry: Entry | None) -> bool:
        """On both lanes, `entry` being its place in the ring; whether somebody takes it by the latest lane."""
        if topic in self._kept:
            self._newest[topic] = parts
        wanted = topic in self._wanted or (bool(self._prefixes) and any(map(topic.startswith, self._prefixes)))
        if entry is not None and wanted + len(self._identities) > 1:
            parts = entry.shared = list(map(sockets.shared, parts))
        if wanted:  # dropped for those whose queue is full
            sockets.send(self.xpub, parts)
        self.feed_readers()
        if entry is not None:
            entry.shared = None
        return wanted

    # -- latest lane ------------------------------------------------------------------------------

    def on_subscription(self, parts: list[memoryview]) -> None:
        """`\\x01topic` or `\\x00topic` from the XPUB."""
        data = bytes(parts[0])
        if len(parts) != 1 or data[:1] not in (b"\x00", b"\x01") or len(data) > MAX_TOPIC_BYTES:
            raise DecodeError("subscription", f"{len(data)} bytes")
        topic = data[1:].decode(errors="replace")
        comes = data[:1] == b"\x01"
        if any(own.startswith(topic) for own in self._topics):  # an XPUB tells of the first subscription, and of the last one's end
            wanted = self._wanted if topic in self._topics else self._prefixes
            (wanted.add if comes else wanted.discard)(topic)
        if topic.startswith(AGAIN) and comes and (newest := self._newest.get(topic.removeprefix(AGAIN))):
            sockets.send(self.xpub, newest)  # who has it already drops it
        if topic.startswith(HELLO):
            if comes and len(self._greeted) >= MAX_GREETED:
                raise DecodeError("subscription", f"{MAX_GREETED} subscribers are here already")
            (self._greeted.add if comes else self._greeted.discard)(topic.removeprefix(HELLO))
            for name, message in self._newest.items():
                if comes and topic_of(name).latched:
                    sockets.send(self.xpub, message)
            self._beat_now.set()

    # -- reliable lane ----------------------------------------------------------------------------

    def feed_readers(self) -> bool:
        """Send every reader what its window allows; whether there was anything."""
        fed = False
        for identity, name in list(self._identities.items()):
            for entry in self.bus.ring.to_send(name):
                fed = True
                if not sockets.send(self.router, [identity, DATA + entry.index.to_bytes(8, "big"), *(entry.shared or entry.parts)]):
                    self._lose_reader(identity)
                    break
        return fed

    def _lose_reader(self, identity: bytes) -> None:
        self.bus.ring.disconnect(self._identities.pop(identity))

    def on_reader(self, parts: list[memoryview]) -> None:
        """hello, ack or bye of a reliable subscriber."""
        if len(parts) != 2:
            raise DecodeError("reliable", f"{len(parts)} parts")
        identity = bytes(parts[0])
        try:
            said = _WORDS.decode(parts[1])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise DecodeError("reliable", f"{type(error).__name__}: {error}") from None
        name, same_run = said.name, said.run == self.bus.run_id
        if name not in self.bus.ring.readers:  # nothing is held back for a stranger
            raise DecodeError("reliable", f"{name[:60]!r} is no subscriber of this graph")
        if said.t == "hello":
            for old in [i for i, n in self._identities.items() if n == name]:
                del self._identities[old]
            self._identities[identity] = name
            self.bus.ring.join(name, frozenset(TOPICS.keys() & said.kinds), said.resume if same_run else {})
            self._beat_now.set()
        elif self._identities.get(identity) != name:
            sockets.send(self.router, [identity, WHO])
        else:
            self.bus.ring.ack(name, said.index if same_run else -1)
            if said.t == "bye":
                self.bus.ring.depart(name)
                del self._identities[identity]

    def forget_readers(self) -> None:
        """Every connection was closed: each says hello again, with the numbers it wants."""
        for known in (self._greeted, self._wanted, self._prefixes):
            known.clear()
        for identity in list(self._identities):
            self._lose_reader(identity)

    def close(self) -> None:
        self.xpub.close()
        self.router.close()
