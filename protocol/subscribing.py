"""The subscribing side of a node's sockets. Not locked: `bus.lock` is held around every call.

Latest lane: one SUB, drained at once, so the newest message is always at hand. Reliable lane: a DEALER per
publisher, which says hello with the numbers it wants and acknowledges what its node has handled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack
import zmq

from protocol import codec, sockets
from protocol.clock import NS_PER_S
from protocol.errors import DecodeError
from protocol.inbox import Taken
from protocol.messages import Envelope, Message, Status
from protocol.publishing import AGAIN, DATA, HELLO, WHO
from protocol.ring import WINDOW_BYTES
from protocol.topics import LATEST, RELIABLE, TOPICS, Lane, taken
from protocol.wiring import Peer

if TYPE_CHECKING:
    from protocol.bus import Bus
    from protocol.guarding import Guard

SILENT_NS = 5 * NS_PER_S // 2  # so that three heartbeats that do not come are noticed when the third is due
DRIFT = 4096
ACK_EVERY = 64
ACK_BYTES = WINDOW_BYTES // 4
BYE_LINGER_MS = 200


@dataclass
class _Upstream:
    """A publisher that this node takes reliable topics from; `handled` and `acked` count in its run."""

    peer: Peer
    socket: zmq.Socket[Any]
    topics: dict[str, str]
    """Those topics, by name, and their kinds."""
    run: str = ""
    handled: int = -1
    acked: int = -1
    handled_bytes: int = 0


class Subscribing:
    """A SUB, and a DEALER per publisher; `owes`: something was handled and is not acknowledged yet."""

    touched = False
    """Whether something was sent or subscribed to since this was last set back."""

    def __init__(self, bus: Bus, guard: Guard) -> None:
        self.bus, self._guard = bus, guard
        self.owes = False
        self._sub: zmq.Socket[Any] | None = None
        self._upstream: dict[str, _Upstream] = {}
        self._peers: dict[str, Peer] = {}
        self._lanes: dict[str, dict[str, Lane]] = {}
        self._heard_ns: dict[str, int] = {}
        self._linked_ns: dict[str, int] = {}
        self._delay_ns: dict[str, tuple[str, int]] = {}
        self._last_words: dict[str, tuple[str, dict[str, int]]] = {}

    # -- what the node has done -------------------------------------------------------------------

    def handled(self, item: Taken) -> zmq.Socket[Any] | None:
        """The node is done with `item`; its publisher hears of it soon, at once when there is much to tell: then on which socket."""
        upstream = self._upstream.get(item.peer)
        if upstream is None or upstream.run != item.message.envelope.run:
            return None
        upstream.handled = item.index
        upstream.handled_bytes += item.nbytes
        self.owes = True
        much = item.index - upstream.acked >= ACK_EVERY or upstream.handled_bytes >= ACK_BYTES
        if not much:
            return None
        self._acknowledge(upstream)
        return upstream.socket

    def silent(self) -> list[str]:
        """Inputs that have been heard, have not ended, and say nothing any more."""
        now_ns = self.bus.clock.mono_ns()
        return [name for name, heard_ns in self._heard_ns.items() if name not in self._last_words and now_ns - heard_ns > SILENT_NS]

    def without_last_word(self) -> list[str]:
        """Inputs that have been heard and have not ended."""
        return [name for name in self._heard_ns if name not in self._last_words]

    def age_ns(self, envelope: Envelope) -> int:
        """How much longer than usual a message has been on its way by now, whatever the two clocks say."""
        run, usual_ns = self._delay_ns.get(envelope.source, ("", 0))
        return self.bus.clock.mono_ns() - envelope.mono_ns - (usual_ns if run == envelope.run else 0)

    def _hear(self, name: str, envelope: Envelope) -> None:
        """Some message of an input has come: it lives; and how long its messages take is known a little better."""
        now_ns = self.bus.clock.mono_ns()
        self._heard_ns[name] = now_ns
        delay_ns = now_ns - envelope.mono_ns
        run, usual_ns = self._delay_ns.get(envelope.source, ("", 0))
        if run != envelope.run:
            usual_ns = delay_ns
        usual_ns = min(delay_ns, usual_ns + (delay_ns - usual_ns) // DRIFT)  # clocks of two machines drift apart
        self._delay_ns[envelope.source] = envelope.run, usual_ns

    def inputs_ended(self) -> bool:
        """Whether every input has said its final word and everything it sent on the reliable lane came."""
        return all(peer.name in self._last_words and self._complete(peer.name) for peer in self.bus.wiring.inputs)

    def _complete(self, name: str) -> bool:
        run, last_seq = self._last_words[name]
        upstream = self._upstream.get(name)
        return upstream is None or all(
            self.bus.books.complete(topic, run, last) for topic, last in last_seq.items() if topic in upstream.topics
        )

    # -- sockets ----------------------------------------------------------------------------------

    def open(self, context: zmq.Context[Any]) -> None:
        """Connect to every input; the publishers may come later."""
        wiring = self.bus.wiring
        self._peers = {peer.name: peer for peer in wiring.inputs}
        self._lanes = {peer.name: taken(peer.kind, wiring.kind) for peer in wiring.inputs}
        latest = [kind for lanes in self._lanes.values() for kind, lane in lanes.items() if lane == LATEST]
        self._sub = sockets.subscriber(context, sockets.LATEST_HWM * 4, _largest(["status", *latest]))
        self._guard.watch_calls(self._sub)
        for peer in wiring.inputs:
            kinds = [kind for kind, lane in self._lanes[peer.name].items() if lane == LATEST]
            for kind in {"status", *kinds}:  # the status of every input: its life, and its last words
                self._sub.subscribe(f"{kind}/{peer.name}")
        self._sub.subscribe(HELLO + wiring.name)  # sorts last, so it is sent last
        for peer in wiring.inputs:
            self._connect_latest(peer)
            kinds = [kind for kind, lane in self._lanes[peer.name].items() if lane == RELIABLE]
            if kinds:
                socket = sockets.connect(context, zmq.DEALER, peer.endpoints.reliable, _largest(kinds), self._guard, peer.key)
                self._upstream[peer.name] = _Upstream(peer, socket, {f"{kind}/{peer.name}": kind for kind in kinds})

    def _connect_latest(self, peer: Peer) -> None:
        assert self._sub is not None
        self._guard.call(self._sub, peer.key)
        sockets.suit_tcp(self._sub, peer.endpoints.latest)
        sockets.connect_again(self._sub, peer.endpoints.latest)
        self._linked_ns[peer.name] = self.bus.clock.mono_ns()

    def mend(self) -> None:
        """Connect again to publishers that have been silent on the latest lane for three heartbeats.

        They may be gone, and come back. Or zmq has given the connection up for good, as it does with one that
        broke its limits or its protocol; or it is dead without knowing it, as tcp may be.
        """
        if self._sub is None or sockets.readable(self._sub):
            return  # we were the silent ones; and zmq aborts when a connection goes of which it holds half a message
        now_ns = self.bus.clock.mono_ns()
        for peer in self._peers.values():
            if now_ns - self._linked_ns[peer.name] > SILENT_NS:
                self._connect_latest(peer)

    def sources(self) -> Iterator[tuple[zmq.Socket[Any], Callable[[list[memoryview]], None]]]:
        """Every open socket, and who takes what it brings."""
        if self._sub is not None:
            yield self._sub, self._on_latest
        for upstream in self._upstream.values():
            yield upstream.socket, partial(self._on_reliable, upstream)

    def leave(self) -> None:
        """Nothing will be handled any more: say bye, so that no publisher waits for us."""
        upstreams, self._upstream = self._upstream, {}
        for upstream in upstreams.values():
            self._miss_the_rest(upstream)
            with contextlib.suppress(zmq.ZMQError):  # the other side may be gone already
                self._say(upstream, {"t": "bye", "index": upstream.handled})
            upstream.socket.close(BYE_LINGER_MS)
        if self._sub is not None:
            self._guard.forget(self._sub)
            self._sub.close()
            self._sub = None

    def _miss_the_rest(self, upstream: _Upstream) -> None:
        """What a publisher that has ended said it sent, and what never came, is lost."""
        run, last_seq = self._last_words.get(upstream.peer.name, ("", {}))
        for topic, last in last_seq.items():
            if topic in upstream.topics:
                self.bus.books.heard_end(topic, run, last)

    def acknowledge_upstream(self) -> None:
        """Tell every publisher how far the node is."""
        self.owes = False
        for upstream in self._upstream.values():
            if upstream.handled > upstream.acked:
                self._acknowledge(upstream)

    def _acknowledge(self, upstream: _Upstream) -> None:
        upstream.acked, upstream.handled_bytes = upstream.handled, 0
        self._say(upstream, {"t": "ack", "index": upstream.acked})

    def _on_latest(self, parts: list[memoryview]) -> None:
        message = codec.decode(parts)
        envelope = message.envelope
        kind, _, name = envelope.topic.partition("/")
        peer = self._peers.get(name)
        if peer is None:
            return  # a longer name that begins like one of ours
        _refuse_other_source(envelope, name)
        self._hear(name, envelope)
        self._linked_ns[name] = self._heard_ns[name]
        booked = self._lanes[name].get(kind) == LATEST
        fresh = booked and self.bus.books.arrive(envelope.topic, envelope.run, envelope.seq, envelope.t_ns)
        if kind == "status":
            self._on_peer_status(peer, message)
        if fresh:
            keep = TOPICS[kind].keep
            pushed_out = self.bus.inbox.put_latest(message, keep)
            if pushed_out:
                self.bus.books.drop(message.topic, pushed_out)

    def _on_peer_status(self, peer: Peer, message: Message) -> None:
        """Greet a publisher that is new or has restarted; close the books of one that has ended."""
        status: Status = message.body
        run = message.envelope.run
        upstream = self._upstream.get(peer.name)
        if upstream is not None and upstream.run != run:
            self._hello(upstream, run)
        elif upstream is not None:  # a publisher that lost sight of us answers with WHO
            self._say(upstream, {"t": "ack", "index": upstream.handled})
        self._ask_again(peer, message)
        for topic, last_seq in status.last_seq.items():
            self.bus.books.heard(topic, run, last_seq)
        if not status.final:
            self._last_words.pop(peer.name, None)
        elif peer.name not in self._last_words:
            # its final status is the last of its topic and not yet counted in itself
            self._last_words[peer.name] = run, {**status.last_seq, message.topic: message.envelope.seq}
            self._close_latest_books(peer)

    def _ask_again(self, peer: Peer, message: Message) -> None:
        """What its heartbeat told and did not come before it found our queue full: the newest will do."""
        assert self._sub is not None
        lanes = self._lanes[peer.name]
        for topic, last_seq in message.body.last_seq.items():
            if lanes.get(topic.partition("/")[0]) != LATEST or topic == message.topic:
                continue
            missing = not self.bus.books.complete(topic, message.envelope.run, last_seq)
            if missing:
                self.touched = True
                self._sub.subscribe(AGAIN + topic)
                self._sub.unsubscribe(AGAIN + topic)

    def _close_latest_books(self, peer: Peer) -> None:
        lanes = self._lanes[peer.name]
        run, last_seq = self._last_words[peer.name]
        for topic, last in last_seq.items():
            if lanes.get(topic.partition("/")[0]) == LATEST:
                self.bus.books.heard_end(topic, run, last)

    def _on_reliable(self, upstream: _Upstream, parts: list[memoryview]) -> None:
        word = bytes(parts[0][:16])
        if word == WHO:
            self._hello(upstream, upstream.run)
            return
        if len(parts) < 3 or word[:1] != DATA or len(word) != 9:
            raise DecodeError("reliable", f"{len(parts)} parts")
        index = int.from_bytes(word[1:], "big")
        message = codec.decode(parts[1:])
        envelope, name = message.envelope, upstream.peer.name
        kind = upstream.topics.get(envelope.topic)
        if kind is None:
            raise DecodeError("reliable", f"topic {envelope.topic!r} from {name!r}")
        _refuse_other_source(envelope, name)
        self._heard_ns[name] = self.bus.clock.mono_ns()
        if not self.bus.books.arrive(envelope.topic, envelope.run, envelope.seq, envelope.t_ns):
            upstream.acked, self.owes = min(upstream.acked, index - 1), True  # sent twice: it waits for a second word
            return
        if kind == "status" and message.body.final:
            self._close_reliable_books(upstream, message)
        self.bus.inbox.put_reliable(Taken(name, index, message, sum(map(len, parts))))

    def _close_reliable_books(self, upstream: _Upstream, message: Message) -> None:
        run = message.envelope.run
        for topic, last_seq in message.body.last_seq.items():
            if topic in upstream.topics and topic != message.topic:
                self.bus.books.heard_end(topic, run, last_seq)
        self.bus.books.heard_end(message.topic, run, message.envelope.seq)

    def _hello(self, upstream: _Upstream, run: str) -> None:
        upstream.run, upstream.handled, upstream.acked = run, -1, -1
        resume = self.bus.books.next_seqs(run)
        wanted = {t: n for t, n in resume.items() if t.partition("/")[2] == upstream.peer.name}
        self._say(upstream, {"t": "hello", "kinds": list(upstream.topics.values()), "resume": wanted})

    def _say(self, upstream: _Upstream, what: dict[str, Any]) -> None:
        self.touched = True
        payload = msgpack.packb({"name": self.bus.wiring.name, "run": upstream.run, **what})
        if not sockets.send(upstream.socket, [payload]):  # never full: there is no connection, and zmq will make none
            self.bus.refuse("cut")
            sockets.connect_again(upstream.socket, upstream.peer.endpoints.reliable)
            sockets.send(upstream.socket, [payload])


def _largest(kinds: list[str]) -> int:
    """The largest part that a message of these kinds may have."""
    return max(codec.MAX_HEADER_BYTES, *(TOPICS[kind].max_bytes for kind in kinds))


def _refuse_other_source(envelope: Envelope, name: str) -> None:
    """A topic of node `name` carries what that node says, and nobody else."""
    if envelope.source != name:
        raise DecodeError("source", f"{envelope.topic!r} from {envelope.source[:60]!r}")
