"""Who works a node's sockets; see `protocol.bus`, `protocol.publishing`, `protocol.subscribing`.

The node's own thread does, while it waits in `Bus.next` or publishes: so a message goes from the socket to
its handler without a change of threads. When that thread is away for long (it trains, it loads a model, it
waits for a servo), this thread takes over, and it alone beats. All of it under `bus.lock`; only waiting
is not. A ZeroMQ descriptor tells of news once, and an operation on the socket may swallow that word, so
whoever has used a socket asks it whether something came meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import zmq

from protocol import sockets
from protocol.codec import Buffer
from protocol.control import parse_request
from protocol.errors import DecodeError, ProtocolError
from protocol.guarding import Guard
from protocol.inbox import Taken
from protocol.publishing import Publishing
from protocol.ring import Entry
from protocol.subscribing import Subscribing
from protocol.waiting import Waiter

if TYPE_CHECKING:
    from protocol.bus import Bus

HEARTBEAT_S = 1.0
AWAY_S = 0.05
"""After so long without a turn by the node's thread, this one takes over."""
PUBLISH_TURN_NS = 10_000_000
NOT_AWAY = 1 << 63  # when the node's thread was here last, while it is
MAX_WAITING_REQUESTS = 256
REBIND_S = 1.0

Source = tuple[zmq.Socket[Any], Callable[[list[memoryview]], None], bool]
"""A socket, who takes what it brings, and whether an answer may go out by it meanwhile."""


class BusThread(threading.Thread):
    """Runs until `finish`."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(name="bus", daemon=True)
        self.bus = bus
        self.context: zmq.Context[Any] = zmq.Context()
        self.beat_now = threading.Event()
        self.guard = Guard(bus.wiring, bus.clock, bus.refuse)
        self.publishing = Publishing(bus, self.beat_now, self.guard)
        self.subscribing = Subscribing(bus, self.guard)
        self.error: BaseException | None = None
        self.worker: int | None = None
        """The thread that deals with what has come, by its ident."""
        self._control: zmq.Socket[Any] | None = None
        self._wake_out, self._wake_in = sockets.wake_pair()
        self._wake_fd = self._wake_in.fileno()
        self._waiter = Waiter()
        self._sources: dict[int, Source] = {}
        self._fds: dict[zmq.Socket[Any], int] = {}
        self._more = False
        self._again: set[int] = set()
        """Descriptors to look at though they may not tell; with `_more` all of them."""
        self._turned_ns = 0
        self._published_ns = 0
        self._leaving = False
        self._finished = False
        self._next_beat_ns = 0

    # -- life -------------------------------------------------------------------------------------

    def bind(self) -> None:
        """Bind the three endpoints."""
        try:
            self.guard.open(self.context)
            self._bind()
        except ProtocolError:
            self.release()
            raise
        self._list_sources()

    def _bind(self, patience_s: float = 0.0) -> None:
        self.publishing.bind(self.context, patience_s)
        self._control = sockets.bind(self.context, zmq.ROUTER, self.bus.wiring.endpoints.control, 64, self.guard, patience_s)

    def release(self) -> None:
        """Let go of everything, for a thread that never ran."""
        self.context.destroy(0)
        self._wake_in.close()
        self._wake_out.close()

    def connect_inputs(self) -> None:
        with self.bus.lock:
            self.subscribing.open(self.context)
            self._list_sources()

    def leave_inputs(self) -> None:
        """Take nothing more."""
        with self.bus.lock:
            self._leaving = True
            self.subscribing.leave()
            self._list_sources()

    def finish(self, drain_s: float) -> bool:
        """Say the last word, deliver what is held, at most `drain_s`, and close every socket; whether all was delivered."""
        drained = self.error is None and self._deliver(drain_s)
        self._finished = True
        self.beat_now.set()
        self.join()
        with self.bus.lock:
            self._sources = {}
            self.subscribing.leave()
            self.publishing.close()
            if self._control is not None:
                self._control.close()
            self.guard.close()
            self._wake_in.close()
            self._wake_out.close()
        self.context.term()
        return drained

    def _deliver(self, drain_s: float) -> bool:
        clock = self.bus.clock
        deadline_ns = clock.mono_ns() + int(drain_s * 1e9)
        with self.bus.lock:
            self._finished = True  # nothing follows the last word: it closes the books
            self.bus.last_word()
        while True:
            self.turn(0.01)
            with self.bus.lock:
                if self.bus.ring.drained():
                    return True
            if clock.mono_ns() > deadline_ns:
                return False

    def wake(self) -> None:
        """Whoever waits looks around; also from a signal handler."""
        with contextlib.suppress(OSError):  # plenty of wake-ups are waiting already, or nobody is left to wake
            self._wake_out.send(b"w")

    # -- turns ------------------------------------------------------------------------------------

    def turn(self, timeout_s: float) -> None:
        """Wait for something to come, at most `timeout_s`, and deal with all of it. For the node's thread."""
        self._turned_ns = NOT_AWAY
        try:
            self._wait_and_work(timeout_s)
        finally:
            self._turned_ns = self.bus.clock.mono_ns()

    def send(self, topic: str, parts: list[Buffer], entry: Entry | None) -> None:
        """A message that has just been published, and its entry if the ring has it; `bus.lock` is held."""
        if self.publishing.send(topic, parts, entry):
            self._have_looked(self.publishing.xpub)
        if sockets.readable(self.publishing.router):  # acknowledgements: at full speed they wait for nobody's turn
            sockets.drain(self.publishing.router, self.publishing.on_reader, self.bus.refuse)
            self.publishing.feed_readers()
            self._have_looked(self.publishing.router)

    def handled(self, item: Taken) -> None:
        """The node is done with a message; `bus.lock` is held."""
        said_on = self.subscribing.handled(item)
        if said_on is not None:
            self._look_again(said_on)

    def due(self) -> bool:
        """Whether a thread that publishes all the time should look at the other sockets too."""
        now_ns = self.bus.clock.mono_ns()
        before_ns, self._published_ns = self._published_ns, now_ns
        return now_ns - before_ns < PUBLISH_TURN_NS < now_ns - self._turned_ns and self.worker != threading.get_ident()

    def reply(self, parts: list[Buffer]) -> None:
        """Answer on the control endpoint."""
        with self.bus.lock:
            if self._control is not None and not self._control.closed:
                sockets.send(self._control, parts)
                self._have_looked(self._control)

    def _look_again(self, *used: zmq.Socket[Any]) -> bool:
        """Something was sent by these sockets: what came meanwhile may have lost its word, so note where to look; whether anywhere."""
        left = [self._fds[socket] for socket in used if socket in self._fds and sockets.readable(socket)]
        self._again.update(left)
        return bool(left)

    def _have_looked(self, *used: zmq.Socket[Any]) -> None:
        """The same outside of a turn: whoever waits is to look at once."""
        if self._look_again(*used):
            self.wake()

    def run(self) -> None:
        try:
            while not self._finished:
                if self.bus.clock.mono_ns() - self._turned_ns < AWAY_S * 1e9:
                    self.beat_now.wait(AWAY_S)
                else:
                    self._wait_and_work(AWAY_S)
                self._acknowledge()
                self._beat()
        except BaseException as error:  # the node's thread must know, whatever it was
            self.error = error
            self.bus.abandon()
            self.wake()

    def _wait_and_work(self, timeout_s: float) -> None:
        ready = self._waiter.wait(0.0 if self._more or self._again else timeout_s)
        with self.bus.lock:
            self.worker = threading.get_ident()
            try:
                self._work(ready)
            finally:
                self.worker = None

    def _work(self, ready: list[int]) -> None:
        """Deal with what has come, on these descriptors and wherever a word may have been lost."""
        if self._wake_fd in ready:
            self._empty_wake_pair()
        places = list(self._sources) if self._more else self._again.union(ready)
        self._more = self.subscribing.touched = False
        self._again.clear()
        used = set()
        for fd in places:
            if fd in self._sources:
                socket, take, answers = self._sources[fd]
                taken = sockets.drain(socket, take, self.bus.refuse)
                if taken == sockets.DRAIN_MESSAGES or (answers and taken):
                    used.add(socket)
        if self.publishing.feed_readers():
            used.add(self.publishing.router)
        self._more |= self.subscribing.touched
        self._look_again(*used)

    def _list_sources(self) -> None:
        """Every socket that may bring something, and who takes it."""
        assert self._control is not None
        answering = [
            (self._control, self._on_control),
            (self.publishing.xpub, self.publishing.on_subscription),
            (self.publishing.router, self.publishing.on_reader),
            *self.guard.sources(),
        ]
        self._sources = {socket.FD: (socket, take, True) for socket, take in answering}
        self._sources |= {socket.FD: (socket, take, False) for socket, take in self.subscribing.sources()}
        self._fds = {source[0]: fd for fd, source in self._sources.items()}
        self._waiter.watch((self._wake_fd, *self._sources))
        self._more = True
        self.wake()

    def _empty_wake_pair(self) -> None:
        with contextlib.suppress(OSError):
            while self._wake_in.recv(4096):
                pass

    def _acknowledge(self) -> None:
        """Tell publishers of what has been handled since they heard last."""
        if self.subscribing.owes:
            with self.bus.lock:
                self.subscribing.acknowledge_upstream()
                self._have_looked(*(socket for socket, _ in self.subscribing.sources()))

    def _beat(self) -> None:
        now = self.bus.clock.mono_ns()
        if now < self._next_beat_ns and not self.beat_now.is_set():
            return
        self.beat_now.clear()
        self._next_beat_ns = now + int(HEARTBEAT_S * 1e9)
        with self.bus.lock:
            if not self._finished:
                if self.guard.somebody_left():
                    self._shut_out()
                self.subscribing.mend()
                self._have_looked(*(socket for socket, _ in self.subscribing.sources()))
                self.bus.beat()

    def _shut_out(self) -> None:
        """Close every connection; whoever may comes back by itself. `bus.lock` is held."""
        assert self._control is not None
        self._sources = {}
        for door in (self.publishing.xpub, self.publishing.router, self._control):
            self.guard.forget(door)
            door.close(0)  # nothing that waits is sent any more
        self.publishing.forget_readers()
        self._bind(REBIND_S)
        self._list_sources()

    def _on_control(self, parts: list[memoryview]) -> None:
        if len(parts) != 2:
            raise DecodeError("control", f"{len(parts)} parts")
        identity = bytes(parts[0])
        request = parse_request(bytes(parts[1]), lambda payload: self.reply([identity, payload]))
        if request.command == "detach":  # answered here: the node's thread may be waiting for room
            self.bus.detach(str(request.args.get("name")))
            request.reply()
            return
        if request.command == "stop":
            self.bus.stop_requested = True
        if (heed := self.bus.urgent.get(request.command)) is not None:
            heed(request)
        if self._leaving or self.bus.inbox.control_waiting >= MAX_WAITING_REQUESTS:
            request.answer_unheard("has stopped" if self._leaving else "is busy")
            return
        self.bus.inbox.put_control(request)
