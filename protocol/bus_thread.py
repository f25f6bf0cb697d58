"""The thread that owns a node's sockets; see `protocol.bus`.

Latest lane: an XPUB, drained at once at the other end, so the newest message is always at hand. Reliable
lane: a ROUTER that feeds each subscriber from the ring within a window of unacknowledged bytes, and
DEALERs that say hello with the numbers they want and acknowledge what their node has handled. Readiness:
a subscriber subscribes to `~hello/<name>` after its topics, which the XPUB sees.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import msgpack
import zmq

from protocol import codec, sockets
from protocol.codec import Buffer
from protocol.control import parse_request
from protocol.errors import DecodeError, ProtocolError
from protocol.inbox import Taken
from protocol.messages import Message, Status
from protocol.topics import LATEST, RELIABLE, TOPICS, taken
from protocol.wiring import Peer

if TYPE_CHECKING:
    from protocol.bus import Bus

HEARTBEAT_S = 1.0
ACK_EVERY = 16
ACK_MAX_WAIT_S = 0.05
HELLO = "~hello/"
DATA, WHO = b"d", b"?"


@dataclass(frozen=True)
class Outgoing:
    """Something for the bus thread to send: a latest message, or a control reply to `parts[0]`."""

    lane: Literal["latest", "control"]
    parts: list[Buffer]
    latched: str = ""


@dataclass
class _Upstream:
    """A publisher that this node takes reliable topics from."""

    peer: Peer
    socket: zmq.Socket[Any]
    kinds: list[str]
    run: str = ""
    handled: int = -1
    acked: int = -1


class BusThread(threading.Thread):
    """Runs until `finish`; everything it shares with the node's thread is locked by `bus.lock`."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(name="bus", daemon=True)
        self.bus = bus
        self.context: zmq.Context[Any] = zmq.Context()
        self.send_status = threading.Event()
        self.handled: tuple[str, int] | None = None
        self._wake_out, self._wake_in = sockets.wake_pair()
        self._connect = threading.Event()
        self._finish = threading.Event()
        self._finished = threading.Event()
        self._drained = False
        self._deadline_ns = 0
        self._next_beat_ns = 0
        self._latched: dict[str, list[Buffer]] = {}
        self._greeted: set[str] = set()
        self._identities: dict[bytes, str] = {}
        self._upstream: dict[str, _Upstream] = {}
        self._peers: dict[str, Peer] = {}
        self._last_words: dict[str, tuple[str, dict[str, int]]] = {}
        self._sub: zmq.Socket[Any] | None = None

    # -- called from the node's thread ------------------------------------------------------------

    def bind(self) -> None:
        """Bind the three endpoints; the thread is not running yet, so sockets may still move to it."""
        ends = self.bus.wiring.endpoints
        try:
            self._xpub = sockets.bind(self.context, zmq.XPUB, ends.latest, sockets.LATEST_HWM)
            self._xpub.setsockopt(zmq.XPUB_VERBOSE, 1)
            self._router = sockets.bind(self.context, zmq.ROUTER, ends.reliable, 0)
            self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
            self._control = sockets.bind(self.context, zmq.ROUTER, ends.control, 64)
        except ProtocolError:
            self.context.destroy(0)
            raise

    def connect_inputs(self) -> None:
        self._connect.set()
        self.wake()

    def wake(self) -> None:
        try:
            self._wake_out.send(b"w")
        except BlockingIOError:
            pass  # plenty of wake-ups are waiting already
        except OSError:
            pass  # closed: nobody is left to wake

    def acknowledge(self) -> None:
        """What `next` returned last has been handled."""
        if self.handled is None:
            return
        (peer, index), self.handled = self.handled, None
        upstream = self._upstream.get(peer)
        if upstream is not None:
            upstream.handled = index
            if index - upstream.acked >= ACK_EVERY:
                self.wake()

    def confirmed(self) -> set[str]:
        """Subscribers whose subscriptions have arrived, on every lane they take topics by."""
        with self.bus.lock:
            readers = self.bus.ring.readers
            return {
                name for name in self._greeted if name not in readers or readers[name].connected
            }

    def inputs_ended(self) -> bool:
        """Whether every input has said its final word and everything it sent on the reliable lane came."""
        with self.bus.lock:
            return all(name in self._last_words and self._complete(name) for name in self._peers)

    def _complete(self, name: str) -> bool:
        run, last_seq = self._last_words[name]
        upstream = self._upstream.get(name)
        return upstream is None or all(
            self.bus.books.complete(topic, run, last)
            for topic, last in last_seq.items()
            if topic.partition("/")[0] in upstream.kinds
        )

    def finish(self, drain_s: float) -> bool:
        """Let the thread deliver what it holds, at most `drain_s`, and end."""
        self._deadline_ns = self.bus.clock.mono_ns() + int(drain_s * 1e9)
        self._finish.set()
        self.wake()
        self._finished.wait(drain_s + 5)
        return self._drained

    # -- the thread -------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # the node's thread must know, whatever it was
            self.bus.inbox.fail(error)
        finally:
            self._close_sockets()
            self._finished.set()

    def _loop(self) -> None:
        poller = zmq.Poller()
        for source in (self._xpub, self._router, self._control, self._wake_in.fileno()):
            poller.register(source, zmq.POLLIN)
        while not self._done():
            if self._connect.is_set() and self._sub is None:
                self._open_inputs(poller)
            ready = dict(poller.poll(self._timeout_ms()))
            if self._wake_in.fileno() in ready:
                self._empty_wake_pair()
            if self._control in ready:
                self._drain(self._control, self._on_control)
            if self._xpub in ready:
                self._drain(self._xpub, self._on_subscription)
            if self._router in ready:
                self._drain(self._router, self._on_reader)
            if self._sub is not None and self._sub in ready:
                self._drain(self._sub, self._on_latest)
            for upstream in self._upstream.values():
                if upstream.socket in ready:
                    self._drain(upstream.socket, partial(self._on_reliable, upstream))
            self._beat()
            self._send_outbox()
            self._feed_readers()
            self._acknowledge_upstream()

    def _done(self) -> bool:
        if not self._finish.is_set():
            return False
        with self.bus.lock:
            self._drained = not self.send_status.is_set() and not self.bus.outbox and self.bus.ring.drained()
        return self._drained or self.bus.clock.mono_ns() > self._deadline_ns

    def _timeout_ms(self) -> int:
        if self._finish.is_set():
            return 10
        until_beat = (self._next_beat_ns - self.bus.clock.mono_ns()) // 1_000_000
        owing = any(up.handled > up.acked for up in self._upstream.values())
        return int(max(0, min(until_beat, ACK_MAX_WAIT_S * 1000 if owing else 1000)))

    def _empty_wake_pair(self) -> None:
        try:
            while self._wake_in.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _drain(self, socket: zmq.Socket[Any], handle: Any) -> None:
        """Take everything a socket holds; what is no message is counted and passed over."""
        while True:
            try:
                parts = socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            try:
                handle([part.buffer for part in parts])
            except DecodeError as error:
                self._refuse(error.reason)

    def _refuse(self, reason: str) -> None:
        with self.bus.lock:
            self.bus.refused[reason] = self.bus.refused.get(reason, 0) + 1

    # -- publishing side --------------------------------------------------------------------------

    def _beat(self) -> None:
        now = self.bus.clock.mono_ns()
        if now < self._next_beat_ns and not self.send_status.is_set():
            return
        self.send_status.clear()
        self._next_beat_ns = now + int(HEARTBEAT_S * 1e9)
        self.bus.beat()

    def _send_outbox(self) -> None:
        while True:
            with self.bus.lock:
                if not self.bus.outbox:
                    return
                out = self.bus.outbox.popleft()
            if out.lane == "control":
                self._send(self._control, out.parts)
                continue
            if out.latched:
                self._latched[out.latched] = out.parts
            self._send(self._xpub, out.parts)

    def _feed_readers(self) -> None:
        identities = {name: identity for identity, name in self._identities.items()}
        for name, identity in identities.items():
            with self.bus.lock:
                entries = list(self.bus.ring.to_send(name))
            for entry in entries:
                index = entry.index.to_bytes(8, "big")
                if not self._send(self._router, [identity, DATA, index, *entry.parts]):
                    self._lose_reader(identity, name)
                    break
        with self.bus.room:
            self.bus.room.notify_all()

    def _lose_reader(self, identity: bytes, name: str) -> None:
        self._identities.pop(identity, None)
        with self.bus.lock:
            self.bus.ring.disconnect(name)

    def _send(self, socket: zmq.Socket[Any], parts: list[Buffer]) -> bool:
        try:
            socket.send_multipart(parts, zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                return False
            raise
        return True

    def _on_subscription(self, parts: list[memoryview]) -> None:
        """`\\x01topic` or `\\x00topic` from the XPUB."""
        data = bytes(parts[0])
        topic = data[1:].decode(errors="replace")
        if not topic.startswith(HELLO):
            return
        name = topic.removeprefix(HELLO)
        if data[:1] == b"\x01":
            self._greeted.add(name)
            for latched in self._latched.values():
                self._send(self._xpub, latched)
        else:
            self._greeted.discard(name)
        self.send_status.set()

    def _on_reader(self, parts: list[memoryview]) -> None:
        """hello, ack or bye of a reliable subscriber."""
        if len(parts) != 2:
            raise DecodeError("reliable", f"{len(parts)} parts")
        identity = bytes(parts[0])
        try:
            said = msgpack.unpackb(parts[1], max_ext_len=0)
            verb, name = str(said["t"]), str(said["name"])
            if verb == "hello":
                kinds = frozenset(str(kind) for kind in said["kinds"]) & TOPICS.keys()
                resume = {str(t): int(n) for t, n in said["resume"].items()}
                same_run = said["run"] == self.bus.run_id
            index = int(said.get("index", -1))
        except Exception as error:  # whatever is wrong with it, it is not our protocol
            raise DecodeError("reliable", f"{type(error).__name__}") from None
        if verb == "hello":
            for old in [i for i, n in self._identities.items() if n == name]:
                del self._identities[old]
            self._identities[identity] = name
            with self.bus.lock:
                self.bus.ring.join(name, kinds, resume if same_run else {})
            self.send_status.set()
        elif self._identities.get(identity) != name:
            self._send(self._router, [identity, WHO])
        elif verb == "ack":
            with self.bus.lock:
                self.bus.ring.ack(name, index)
        elif verb == "bye":
            del self._identities[identity]
            with self.bus.lock:
                self.bus.ring.ack(name, index)
                self.bus.ring.depart(name)

    def _on_control(self, parts: list[memoryview]) -> None:
        if len(parts) != 2:
            raise DecodeError("control", f"{len(parts)} parts")
        identity = bytes(parts[0])

        def send(payload: bytes) -> None:
            with self.bus.lock:
                self.bus.outbox.append(Outgoing("control", [identity, payload]))
            self.wake()

        request = parse_request(bytes(parts[1]), send)
        if request.command == "detach":  # answered here: the node's thread may be waiting for room
            self.bus.detach(str(request.args.get("name")))
            request.reply()
            return
        if request.command == "stop":
            self.bus.stop_requested.set()
        self.bus.inbox.put_control(request)

    # -- subscribing side -------------------------------------------------------------------------

    def _open_inputs(self, poller: zmq.Poller) -> None:
        wiring = self.bus.wiring
        self._peers = {peer.name: peer for peer in wiring.inputs}
        self._sub = self.context.socket(zmq.SUB)
        self._sub.linger = 0
        self._sub.set_hwm(sockets.LATEST_HWM * 4)
        self._sub.setsockopt(zmq.RECONNECT_IVL, 50)
        self._sub.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
        poller.register(self._sub, zmq.POLLIN)
        for peer in wiring.inputs:
            lanes = taken(peer.kind, wiring.kind)
            kinds = [kind for kind, lane in lanes.items() if lane == LATEST]
            for kind in {"status", *kinds}:  # the status of every input: its life, and its last words
                self._sub.subscribe(f"{kind}/{peer.name}")
        self._sub.subscribe(HELLO + wiring.name)  # sorts last, so it is sent last
        for peer in wiring.inputs:
            self._sub.connect(peer.endpoints.latest)
            kinds = [k for k, lane in taken(peer.kind, wiring.kind).items() if lane == RELIABLE]
            if kinds:
                socket = sockets.connect(self.context, zmq.DEALER, peer.endpoints.reliable, 0)
                self._upstream[peer.name] = _Upstream(peer, socket, kinds)
                poller.register(socket, zmq.POLLIN)

    def _on_latest(self, parts: list[memoryview]) -> None:
        message = codec.decode(parts)
        kind, _, name = message.topic.partition("/")
        peer = self._peers.get(name)
        if peer is None:
            return  # a longer name that begins like one of ours
        lane = taken(peer.kind, self.bus.wiring.kind).get(kind)
        fresh = lane == LATEST and self._book(message)
        if kind == "status":
            self._on_peer_status(peer, message)
        if fresh:
            keep = TOPICS[kind].keep
            pushed_out = self.bus.inbox.put_latest(message, keep)
            if pushed_out:
                with self.bus.lock:
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
        if not status.final:
            self._last_words.pop(peer.name, None)
        elif peer.name not in self._last_words:
            lanes = taken(peer.kind, self.bus.wiring.kind)
            with self.bus.lock:
                self._last_words[peer.name] = run, dict(status.last_seq)
                for topic, last_seq in status.last_seq.items():
                    kind = topic.partition("/")[0]
                    # its final status is the last of its topic and not yet counted in itself
                    last = message.envelope.seq if kind == "status" else last_seq
                    if lanes.get(kind) == LATEST:
                        self.bus.books.heard_end(topic, run, last)

    def _on_reliable(self, upstream: _Upstream, parts: list[memoryview]) -> None:
        if parts and bytes(parts[0]) == WHO:
            self._hello(upstream, upstream.run)
            return
        if len(parts) < 4 or bytes(parts[0]) != DATA or len(parts[1]) != 8:
            raise DecodeError("reliable", f"{len(parts)} parts")
        index = int.from_bytes(parts[1], "big")
        message = codec.decode(parts[2:])
        if message.topic.partition("/")[2] != upstream.peer.name or message.kind not in upstream.kinds:
            raise DecodeError("reliable", f"topic {message.topic!r} from {upstream.peer.name!r}")
        if not self._book(message):
            return
        if message.kind == "status" and message.body.final:
            self._close_reliable_books(upstream, message)
        self.bus.inbox.put_reliable(Taken(upstream.peer.name, index, message))

    def _close_reliable_books(self, upstream: _Upstream, message: Message) -> None:
        run = message.envelope.run
        with self.bus.lock:
            for topic, last_seq in message.body.last_seq.items():
                if topic.partition("/")[0] in upstream.kinds and topic != message.topic:
                    self.bus.books.heard_end(topic, run, last_seq)
            self.bus.books.heard_end(message.topic, run, message.envelope.seq)

    def _book(self, message: Message) -> bool:
        with self.bus.lock:
            return self.bus.books.arrive(message.topic, message.envelope.run, message.envelope.seq)

    def _hello(self, upstream: _Upstream, run: str) -> None:
        upstream.run, upstream.handled, upstream.acked = run, -1, -1
        with self.bus.lock:
            resume = self.bus.books.next_seqs(run)
        wanted = {t: n for t, n in resume.items() if t.partition("/")[2] == upstream.peer.name}
        self._say(upstream, {"t": "hello", "run": run, "kinds": upstream.kinds, "resume": wanted})

    def _acknowledge_upstream(self) -> None:
        for upstream in self._upstream.values():
            if upstream.handled > upstream.acked:
                upstream.acked = upstream.handled
                self._say(upstream, {"t": "ack", "index": upstream.acked})

    def _say(self, upstream: _Upstream, what: dict[str, Any]) -> None:
        payload = msgpack.packb({"name": self.bus.wiring.name, **what})
        upstream.socket.send(payload, zmq.NOBLOCK)

    # -- end --------------------------------------------------------------------------------------

    def _close_sockets(self) -> None:
        for upstream in self._upstream.values():
            try:
                self._say(upstream, {"t": "bye", "index": upstream.handled})
            except zmq.ZMQError:
                pass  # the other side is gone already
            upstream.socket.close(200)
        for socket in (self._sub, self._xpub, self._router, self._control):
            if socket is not None:
                socket.close()
        self._wake_in.close()
        self._wake_out.close()
        self.context.term()
