"""The thread that owns a node's sockets; see `protocol.bus`, `protocol.publishing`, `protocol.subscribing`."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import zmq

from protocol import sockets
from protocol.control import parse_request
from protocol.errors import DecodeError, ProtocolError
from protocol.inbox import Taken
from protocol.publishing import Publishing
from protocol.subscribing import Subscribing

if TYPE_CHECKING:
    from protocol.bus import Bus

HEARTBEAT_S = 1.0
ACK_MAX_WAIT_S = 0.05
LEAVE_S = 5.0
MAX_WAITING_REQUESTS = 256


class BusThread(threading.Thread):
    """Runs until `finish`; everything it shares with the node's thread is locked by `bus.lock`."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(name="bus", daemon=True)
        self.bus = bus
        self.context: zmq.Context[Any] = zmq.Context()
        self.send_status = threading.Event()
        self.publishing = Publishing(bus, self.send_status)
        self.subscribing = Subscribing(bus)
        self.handled: Taken | None = None
        self._control: zmq.Socket[Any] | None = None
        self._wake_out, self._wake_in = sockets.wake_pair()
        self._connect = threading.Event()
        self._leave = threading.Event()
        self._finish = threading.Event()
        self._finished = threading.Event()
        self._said_last = False
        self._drained = False
        self._deadline_ns = 0
        self._next_beat_ns = 0

    # -- called from the node's thread ------------------------------------------------------------

    def bind(self) -> None:
        """Bind the three endpoints; the thread is not running yet, so sockets may still move to it."""
        try:
            self.publishing.bind(self.context)
            self._control = sockets.bind(self.context, zmq.ROUTER, self.bus.wiring.endpoints.control, 64)
        except ProtocolError:
            self.release()
            raise

    def release(self) -> None:
        """Let go of everything, for a thread that never ran."""
        self.context.destroy(0)
        self._wake_in.close()
        self._wake_out.close()

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
        item, self.handled = self.handled, None
        if item is not None and self.subscribing.acknowledge(item):
            self.wake()

    def leave_inputs(self) -> None:
        """Take nothing more: no message arrives once this returns."""
        self._leave.set()
        self.wake()
        self.subscribing.left.wait(LEAVE_S)

    def finish(self, drain_s: float) -> bool:
        """Let the thread deliver what it holds, at most `drain_s`, and end."""
        self._deadline_ns = self.bus.clock.mono_ns() + int(drain_s * 1e9)
        self._finish.set()
        self.wake()
        self._finished.wait(drain_s + 5)
        return self._drained

    # -- the thread -------------------------------------------------------------------------------

    def run(self) -> None:
        poller = zmq.Poller()
        try:
            self._loop(poller)
        except BaseException as error:  # the node's thread must know, whatever it was
            self.bus.inbox.fail(error)
        finally:
            self._end(poller)

    def _loop(self, poller: zmq.Poller) -> None:
        publishing, subscribing = self.publishing, self.subscribing
        assert self._control is not None
        for source in (publishing.xpub, publishing.router, self._control, self._wake_in.fileno()):
            poller.register(source, zmq.POLLIN)
        while not self._done():
            if self._leave.is_set() and not subscribing.left.is_set():
                subscribing.leave(poller)
            elif self._connect.is_set() and not subscribing.opened and not self._leave.is_set():
                subscribing.open(self.context, poller)
            ready = dict(poller.poll(self._timeout_ms()))
            if self._wake_in.fileno() in ready:
                self._empty_wake_pair()
            if self._control in ready:
                sockets.drain(self._control, self._on_control, self.bus.refuse)
            if publishing.xpub in ready:
                sockets.drain(publishing.xpub, publishing.on_subscription, self.bus.refuse)
            if publishing.router in ready:
                sockets.drain(publishing.router, publishing.on_reader, self.bus.refuse)
            if not subscribing.left.is_set():
                subscribing.receive(ready)
            self._beat()
            self._send_replies()
            publishing.send_latest()
            publishing.feed_readers()
            subscribing.acknowledge_upstream()

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
        longest = ACK_MAX_WAIT_S if self.subscribing.owes() else HEARTBEAT_S
        return int(max(0, min(until_beat, longest * 1000)))

    def _empty_wake_pair(self) -> None:
        try:
            while self._wake_in.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _beat(self) -> None:
        now = self.bus.clock.mono_ns()
        if now < self._next_beat_ns and not self.send_status.is_set():
            return
        self.send_status.clear()
        self._next_beat_ns = now + int(HEARTBEAT_S * 1e9)
        if not self._said_last:  # nothing follows the final status: it closes the books
            self._said_last = self.bus.beat()

    def _send_replies(self) -> None:
        assert self._control is not None
        with self.bus.lock:
            replies = self.bus.outbox.take_replies()
        for parts in replies:
            sockets.send(self._control, parts)

    def _on_control(self, parts: list[memoryview]) -> None:
        if len(parts) != 2:
            raise DecodeError("control", f"{len(parts)} parts")
        identity = bytes(parts[0])

        def send(payload: bytes) -> None:
            with self.bus.lock:
                self.bus.outbox.put_reply([identity, payload])
            self.wake()

        request = parse_request(bytes(parts[1]), send)
        if request.command == "detach":  # answered here: the node's thread may be waiting for room
            self.bus.detach(str(request.args.get("name")))
            request.reply()
            return
        if request.command == "stop":
            self.bus.stop_requested.set()
        if self._leave.is_set() or self.bus.inbox.control_waiting() >= MAX_WAITING_REQUESTS:
            request.answer_unheard("has stopped" if self._leave.is_set() else "is busy")
            return
        self.bus.inbox.put_control(request)

    def _end(self, poller: zmq.Poller) -> None:
        """Close every socket; nobody waits for this thread any more."""
        self.bus.abandon()
        if not self.subscribing.left.is_set():
            self.subscribing.leave(poller)
        self.publishing.close()
        if self._control is not None:
            self._control.close()
        self._wake_in.close()
        self._wake_out.close()
        self.context.term()
        self._finished.set()
