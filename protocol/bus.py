"""The bus of one node: publish, take the next message, answer control requests.

    bus = Bus(wiring)
    bus.start()                       # binds, beats; nothing is subscribed yet
    bus.subscribe()                   # connects to the inputs
    bus.publish("frame", Frame(), {"image/top": image}, episode=0, step=7)
    thing = bus.next(timeout_s=0.1)   # Message, ControlRequest or None

The node's thread works the sockets itself while it waits or publishes; while it is away (it loads a model,
it trains) a second thread does, `protocol.bus_thread`, so that heartbeats go on, a latest subscriber always
holds the newest message, and a stop request is seen at once. A command in `urgent` is told to its function
as soon as it comes, before it waits its turn like any other; the function runs on either thread, under the
lock. One lock guards all they share.
"""

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from protocol import codec, control
from protocol.books import FROM_THE_START, Books, Resume
from protocol.bus_thread import BusThread
from protocol.clock import NS_PER_S, Clock, SystemClock
from protocol.control import ControlRequest
from protocol.errors import BusClosed, ControlError, EncodeError, Reason
from protocol.inbox import Inbox, Taken
from protocol.messages import Array, Body, Envelope, Gap, Message, StateName, Status, Tail
from protocol.ring import Ring
from protocol.topics import LATEST, RELIABLE, TOPICS, Topic, taken
from protocol.wiring import Wiring

NO_ARRAYS: Mapping[str, Array] = {}
MAX_TEXT = 500
MAX_TOLD = 100  # gaps and tails in a heartbeat; `gaps` and `tails` have all
JUMP_NS = NS_PER_S // 2
WAIT_FOR_ROOM_S = 0.05
HEADER_ROOM = 512  # about what a header takes


class Bus:
    """One node's place on the bus; use it from one thread."""

    def __init__(self, wiring: Wiring, clock: Clock | None = None) -> None:
        self.wiring = wiring
        self.clock: Clock = clock or SystemClock()
        self.run_id = uuid.uuid4().hex[:12]
        self.session: str | None = None
        self.stop_requested = False  # no Event: the signal handler that sets it must not wait for a lock that it interrupted
        self.urgent: dict[str, Callable[[ControlRequest], None]] = {}
        self.inbox = Inbox()
        self.books = Books()
        self.ring = Ring(wiring.ring_bytes)
        self.refused: dict[str, int] = {}
        self.handled: dict[str, tuple[str, int]] = {}
        """Reliable topic to (run, last number) of what this node has handled."""
        self.clock_jumps = 0
        self.clock_jump_s = 0.0
        """The latest jump of the wall clock against the monotonic one."""
        self._wall_offset_ns = self.clock.wall_ns() - self.clock.mono_ns()
        self.sent_bytes: dict[str, int] = {}
        self.lock = threading.RLock()
        self._state = Status(state="starting", kind=wiring.kind)
        self._last_next_ns = self.clock.mono_ns()
        self._next_seq: dict[str, int] = {}
        self._topics: dict[str, tuple[str, Topic]] = {}
        self._blocks = wiring.on_full == "block"
        self._abandoned = False
        self._drained: bool | None = None
        self._handled: Taken | None = None
        for subscriber in wiring.subscribers:
            lanes = taken(wiring.kind, subscriber.kind)
            kinds = frozenset(kind for kind, lane in lanes.items() if lane == RELIABLE)
            if kinds:
                self.ring.declare(subscriber.name, kinds)
        self._thread = BusThread(self)

    # -- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bind the endpoints and begin to beat; BindError when one cannot be bound."""
        self._thread.bind()
        self._thread.start()

    def subscribe(self, resume: Mapping[str, Resume] | None = None) -> None:
        """Connect to the inputs. With `resume`, by topic, a node that comes back asks for what it missed."""
        for peer in self.wiring.inputs:
            for kind, lane in taken(peer.kind, self.wiring.kind).items():
                topic = f"{kind}/{peer.name}"
                self.books.open(topic, lane, (resume or {}).get(topic, FROM_THE_START))
        self._thread.connect_inputs()

    def close(self, drain_s: float = 5.0) -> bool:
        """Say the final word, wait until reliable subscribers have everything, release all sockets.

        Returns whether everything was delivered in time. Messages that nobody handled are booked as
        skipped. Idempotent.
        """
        if self._drained is None:
            self._drained = self._end(drain_s)
        return self._drained

    def _end(self, drain_s: float) -> bool:
        if self._thread.ident is None:
            self._thread.release()
            return True
        self._thread.leave_inputs()
        with self.lock:
            for message in self.inbox.left_over():
                self.books.drop(message.topic)
            requests = self.inbox.left_requests()
        for request in requests:
            request.answer_unheard("has stopped")
        return self._thread.finish(drain_s)

    def abandon(self) -> None:
        """Stop waiting for anybody: a blocked publish drops (and counts) instead. For forced stops, also from a signal handler."""
        self._abandoned = True
        self._thread.wake()

    # -- publishing -------------------------------------------------------------------------------

    def publish(
        self,
        kind: str,
        body: Body,
        arrays: Mapping[str, Array] = NO_ARRAYS,
        *,
        episode: int | None = None,
        step: int | None = None,
        t_ns: int | None = None,
        wait: bool = True,
    ) -> int:
        """Send a message on this node's topic of `kind`; returns its number.

        The arrays belong to the bus from now on: they are sent without a copy and must not be changed.
        Waits while the ring is full and the policy is `block`; small and rare messages that must not be
        held up, such as alarms, say `wait=False`, and the ring grows. Raises EncodeError before anything
        is sent when the message is over its topic's limits.
        """
        while (seq := self._try_to_publish(kind, body, arrays, episode, step, t_ns, wait)) is None:
            self._last_next_ns = self.clock.mono_ns()  # who waits for others is not hung
            self._thread.turn(WAIT_FOR_ROOM_S)
        if wait and self._thread.due():
            self._thread.turn(0)
        return seq

    def beat(self) -> None:
        """Publish the heartbeat, never waiting for room. For the bus thread."""
        self._look_at_clock()
        status = self.status()
        try:
            self.publish("status", status, wait=False)
        except EncodeError:  # the books of a very large graph do not fit
            small = msgspec.structs.replace(status, counts={}, missing=[], confirmed=[], last_seq={})
            self.publish("status", small, wait=False)

    def last_word(self) -> None:
        """The heartbeat that is the final one, once. For the bus thread, `lock` held: it may beat no more."""
        self._state = msgspec.structs.replace(self._state, state="stopped", final=True)
        self.beat()

    def _look_at_clock(self) -> None:
        offset_ns = self.clock.wall_ns() - self.clock.mono_ns()
        jump_ns, self._wall_offset_ns = offset_ns - self._wall_offset_ns, offset_ns
        if abs(jump_ns) > JUMP_NS:  # a slewed clock moves far less from one heartbeat to the next
            self.clock_jumps += 1
            self.clock_jump_s = jump_ns / NS_PER_S

    def _try_to_publish(
        self, kind: str, body: Body, arrays: Mapping[str, Array], episode: int | None, step: int | None, t_ns: int | None, wait: bool
    ) -> int | None:
        """Number a message and send it; None when there is no room for it and it is to wait."""
        topic, row = self._topics.get(kind) or self._own_topic(kind)
        with self.lock:
            if wait and self._blocks and kind in self.ring.kinds and not self._has_room(row, arrays) and self._may_wait():
                return None
            seq = self._next_seq.get(topic, 0)
            envelope = Envelope(
                topic=topic, source=self.wiring.name, run=self.run_id, seq=seq,
                t_ns=self.clock.wall_ns() if t_ns is None else t_ns, mono_ns=self.clock.mono_ns(),
                session=self.session, episode=episode, step=step,
            )  # fmt: skip
            parts = codec.encode_parts(row, envelope, body, arrays)
            entry = self.ring.append(topic, seq, parts, self._abandoned or not self._blocks) if kind in self.ring.kinds else None
            self._thread.send(topic, parts, entry)
            self._next_seq[topic] = seq + 1
            self.sent_bytes[topic] = self.sent_bytes.get(topic, 0) + sum(map(len, parts))
        return seq

    def _own_topic(self, kind: str) -> tuple[str, Topic]:
        """This node's topic of a kind, and its row; EncodeError when there is no such kind."""
        topic = f"{kind}/{self.wiring.name}"
        self._topics[kind] = topic, codec.row_to_publish(topic)
        return self._topics[kind]

    def _has_room(self, row: Topic, arrays: Mapping[str, Array]) -> bool:
        nbytes = sum(array.nbytes for array in arrays.values())
        return nbytes > row.max_bytes or self.ring.has_room(HEADER_ROOM + nbytes)  # too large a one is refused, not waited with

    def _may_wait(self) -> bool:
        """Not when this is a forced stop, nor in the thread that deals with what has come."""
        return not self._abandoned and self._thread.worker != threading.get_ident()

    def delivered(self) -> bool:
        """Whether every reliable subscriber that is here has handled all that was published for it."""
        with self.lock:
            return self.ring.drained()

    def set_state(
        self, state: StateName | None = None, *, detail: str | None = None,
        outcome: str | None = None, metrics_url: str | None = None,
    ) -> None:  # fmt: skip
        """Change what the next heartbeat says, and beat at once."""
        given = {"state": state, "detail": _text(detail), "outcome": _text(outcome), "metrics_url": metrics_url}
        with self.lock:
            self._state = msgspec.structs.replace(self._state, **{key: value for key, value in given.items() if value is not None})
        self._thread.beat_now.set()

    @property
    def state(self) -> StateName:
        return self._state.state

    def status(self) -> Status:
        """The heartbeat as it would be sent now."""
        declared = {subscriber.name for subscriber in self.wiring.subscribers}
        with self.lock:
            confirmed = self._thread.publishing.confirmed()
            return msgspec.structs.replace(
                self._state,
                confirmed=sorted(confirmed),
                missing=sorted(declared - confirmed),
                last_seq={topic: seq - 1 for topic, seq in self._next_seq.items()},
                counts=self.books.counts(),
                refused=dict(self.refused),
                loop_age_s=(self.clock.mono_ns() - self._last_next_ns) / NS_PER_S,
                queue_bytes=self.inbox.reliable_bytes,
                gaps=self.books.gaps(-MAX_TOLD),
                tails=self.books.tails()[-MAX_TOLD:],
                silent=self._thread.subscribing.silent(),
                clock_jumps=self.clock_jumps,
            )

    # -- taking -----------------------------------------------------------------------------------

    def next(self, timeout_s: float) -> Message | ControlRequest | None:
        """The next control request, reliable message or newest latest message; None after `timeout_s`.

        A reliable message counts as handled when the following call of `next` comes. Raises what the
        bus thread died of, if it died.
        """
        self._last_next_ns = self.clock.mono_ns()
        until_s = time.monotonic() + timeout_s
        looked = False
        while True:
            with self.lock:
                thing = self._take()
            if thing is not None:
                return thing
            left_s = until_s - time.monotonic()
            if looked and left_s <= 0:
                return None
            self._thread.turn(max(left_s, 0.0))
            looked = True

    def _take(self) -> Message | ControlRequest | None:
        handled, self._handled = self._handled, None
        if handled is not None:
            envelope = handled.message.envelope
            self.handled[envelope.topic] = envelope.run, envelope.seq
            self._thread.handled(handled)
        while (thing := self.inbox.take()) is not None:
            if isinstance(thing, Taken):
                self._handled = thing
                return thing.message
            if isinstance(thing, Message) and self._too_old(thing):
                self.books.drop(thing.topic)
                continue
            return thing
        if self._thread.error is not None:
            raise self._thread.error
        if self._drained is not None:
            raise BusClosed("the bus is closed")
        return None

    def gaps(self, since: int = 0) -> list[Gap]:
        """Every hole in the reliable topics this node takes, in the order in which they were noticed, from the `since`th on."""
        with self.lock:
            return self.books.gaps(since)

    def inputs_ended(self) -> bool:
        """Whether every input has said its final word and all it sent on the reliable lane has come."""
        with self.lock:
            return self.inbox.reliable_empty and self._thread.subscribing.inputs_ended()

    def newest_ns(self) -> dict[str, int]:
        """Topic to when the newest message that came was sent, wall clock."""
        with self.lock:
            return self.books.newest_ns()

    def tails(self) -> list[Tail]:
        """Reliable topics whose publisher ended without a last word: what it sent last is not known."""
        with self.lock:
            return self.books.tails()

    def silent(self) -> list[str]:
        """Inputs that have been heard, have not ended, and say nothing for three heartbeats."""
        with self.lock:
            return self._thread.subscribing.silent()

    def give_up_inputs(self) -> None:
        """Inputs that have not said their last word by now are taken for dead."""
        with self.lock:
            for name in self._thread.subscribing.without_last_word():
                self.books.died(name)

    def refuse(self, reason: Reason) -> None:
        """Count something that came and was no message."""
        with self.lock:
            self.refused[reason] = self.refused.get(reason, 0) + 1

    def warnings(self) -> list[str]:
        """Lines for a person about who was turned away, since the last call."""
        return self._thread.guard.warnings()

    def detach(self, name: str) -> None:
        """A subscriber will not come back: hold nothing for it."""
        with self.lock:
            self.ring.depart(name)

    def request(self, peer: str, command: str, args: dict[str, Any] | None = None, timeout_s: float = 2.0) -> dict[str, Any]:
        """Ask another node; ControlError when it is unknown, refuses, or does not answer in time."""
        for other in [*self.wiring.peers, *self.wiring.inputs]:
            if other.name == peer:
                asked = other.endpoints.control, command, args or {}, self.wiring.name, timeout_s
                return control.ask(self._thread.context, *asked, self._thread.guard.own, other.key)
        raise ControlError(f"no node {peer!r} in this graph")

    def _too_old(self, message: Message) -> bool:
        topic = TOPICS[message.kind]
        if topic.latched or topic.takers.get(self.wiring.kind) != LATEST:
            return False
        age_ns = self._thread.subscribing.age_ns(message.envelope)
        return age_ns > self.wiring.max_age_s * NS_PER_S


def _text(text: str | None) -> str | None:
    """Short enough for a heartbeat, and fit for the wire."""
    return None if text is None else text[:MAX_TEXT].encode(errors="replace").decode()
