"""Who may connect to a node's tcp endpoints: CURVE keys, checked against the allow-list at every handshake.

zmq asks at `inproc://zeromq.zap.01` (RFC 27) about each client that proves a key; the bus answers like it
takes a message, so that the list is always the one on disk and every refusal is counted and told. A client
without keys never gets as far: zmq's monitors tell of it, without its address. A key that leaves the list
while its holder is connected: `somebody_left` says so with the next heartbeat, and the bus closes its
endpoints and binds them again (zmq cannot close one connection of many). All who may come back by themselves,
and the reliable lane goes on where it was.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import zmq
from zmq.utils import z85
from zmq.utils.monitor import parse_monitor_message

from protocol import sockets
from protocol.allow_list import AllowList
from protocol.clock import NS_PER_S, Clock
from protocol.errors import KeysError, Reason
from protocol.keys import KEY_CHARS, KeyPair, has_allow_list, is_key, read_pair
from protocol.wiring import Wiring

ZAP = "inproc://zeromq.zap.01"
ZAP_VERSION = b"1.0"
TELL_EVERY_S = 10.0
AT_SERVER = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
AT_CLIENT = AT_SERVER | zmq.EVENT_HANDSHAKE_FAILED_AUTH
OTHER_KEY = 0x11000001
"""ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC: what came was not made with our public key."""


@dataclass(frozen=True)
class _Watch:
    """A monitor of a socket; `tell` says what an event on it means."""

    socket: zmq.Socket[Any]
    monitor: zmq.Socket[Any]
    tell: Callable[[int, int, str], None]


class Guard:
    """The keys of one process. Not locked: `bus.lock` is held around every call, but for `warnings`."""

    def __init__(self, wiring: Wiring, clock: Clock, refuse: Callable[[Reason], None]) -> None:
        self.wiring, self.clock, self._refuse = wiring, clock, refuse
        self.own: KeyPair | None = None
        self._allowed: AllowList | None = None
        self._zap: zmq.Socket[Any] | None = None
        self._watches: list[_Watch] = []
        self._numbers = count()
        self._let_in: set[str] = set()
        self._told: dict[str, tuple[int, int]] = {}
        self._lines: deque[str] = deque(maxlen=32)

    @property
    def stands(self) -> bool:
        """Whether endpoints that are bound now let in only who is allowed."""
        return self._zap is not None and self.own is not None and has_allow_list(self.own.folder)

    def open(self, context: zmq.Context[Any]) -> None:
        """Before anything is bound: read the keys; KeysError when one is missing or a peer could not be trusted."""
        if self.wiring.identity:
            self.own = read_pair(Path(self.wiring.keys_dir), self.wiring.identity)
        for peer in [*self.wiring.inputs, *self.wiring.peers]:
            for endpoint in (peer.endpoints.latest, peer.endpoints.reliable, peer.endpoints.control):
                self._check(peer.name, endpoint, peer.key)
        if self.own is not None:
            self._allowed = AllowList(self.own.folder)
            self._zap = context.socket(zmq.REP)
            self._zap.linger = 0
            self._zap.bind(ZAP)

    def _check(self, name: str, endpoint: str, key: str) -> None:
        if key and self.own is None:
            raise KeysError(f"{name} at {endpoint} speaks only with those who have a key; give --key NAME (`toddle keys new` makes one)")
        if key and not is_key(key):
            raise KeysError(f"{name} at {endpoint} has a key of the wrong form: {key[:KEY_CHARS]!r}")
        if not key and endpoint.startswith("tcp://") and not sockets.is_loopback(endpoint):
            raise KeysError(f"{name} at {endpoint} is on another machine and has no key: nothing would prove that it is {name}")

    # -- sockets that bind, and that connect --------------------------------------------------------

    def serve(self, socket: zmq.Socket[Any], endpoint: str) -> None:
        """Let only those connect to `socket`, which will bind, who may."""
        if self.own is not None and endpoint.startswith("tcp://"):
            self.own.serve(socket)
            self._watch(socket, AT_SERVER, self._knocked)

    def call(self, socket: zmq.Socket[Any], key: str) -> None:
        """Let `socket`, which will connect, speak only with the holder of `key`, if there is one."""
        if self.own is not None and key:
            self.own.call(socket, key)

    def watch_calls(self, socket: zmq.Socket[Any]) -> None:
        """Tell when `socket`, which will connect, is turned away."""
        if self.own is not None:
            self._watch(socket, AT_CLIENT, self._turned_away)

    def _watch(self, socket: zmq.Socket[Any], events: int, tell: Callable[[int, int, str], None]) -> None:
        monitor = socket.get_monitor_socket(events, f"inproc://watch.{next(self._numbers)}")
        self._watches.append(_Watch(socket, monitor, tell))

    def forget(self, socket: zmq.Socket[Any]) -> None:
        """Before `socket` closes."""
        for watch in [watch for watch in self._watches if watch.socket is socket]:
            self._watches.remove(watch)
            socket.disable_monitor()
            watch.monitor.close(0)

    def close(self) -> None:
        """After all sockets are closed."""
        for watch in self._watches:
            watch.monitor.close(0)
        if self._zap is not None:
            self._zap.close(0)

    # -- questions and news -------------------------------------------------------------------------

    def sources(self) -> Iterator[tuple[zmq.Socket[Any], Callable[[list[memoryview]], None]]]:
        """Every open socket of the guard, and who takes what it brings."""
        if self._zap is not None:
            yield self._zap, self._on_question
        for watch in self._watches:
            yield watch.monitor, partial(_on_event, watch.tell)

    def somebody_left(self) -> bool:
        """Whether a key that was let in is not allowed any more; asks the disk."""
        if self._allowed is None or not self._let_in:
            return False
        self._look()
        gone = {key for key in self._let_in if self._allowed.allowed(key) is None}
        for key in gone:
            self._say(f"'{self._allowed.revoked(key) or key}' is not allowed any more: its connections are closed")
        self._let_in -= gone
        return bool(gone)

    def _look(self) -> None:
        assert self._allowed is not None
        self._allowed.look()
        if self._allowed.problem:
            self._tell("problem", self._allowed.problem)

    def _on_question(self, parts: list[memoryview]) -> None:
        """By RFC 27: version, request id, domain, address, routing id, mechanism, and the key that was proved."""
        assert self._zap is not None
        asked = [bytes(part) for part in parts]
        name = self._who(asked) if len(asked) == 7 and asked[5] == b"CURVE" and len(asked[6]) == 32 else None
        code, text = (b"200", b"OK") if name is not None else (b"400", b"not allowed")
        self._zap.send_multipart([ZAP_VERSION, asked[1] if len(asked) > 1 else b"", code, text, (name or "").encode(), b""])

    def _who(self, asked: list[bytes]) -> str | None:
        """The name of the client, None when it must not come in."""
        assert self._allowed is not None
        assert self.own is not None
        key, address = z85.encode(asked[6]).decode(), asked[3].decode(errors="replace")
        if key == self.own.public:  # the graph's own nodes
            return self.own.name
        self._look()
        if (name := self._allowed.allowed(key)) is not None:
            self._let_in.add(key)
            return name
        if (name := self._allowed.revoked(key)) is not None:
            self._count("curve_revoked", f"refused '{name}' at {address}: its key is revoked")
        else:
            self._count("curve_stranger", f"refused a stranger at {address}; if you know it: toddle keys allow NAME '{key}'")
        return None

    def _knocked(self, event: int, value: int, endpoint: str) -> None:
        """At an endpoint of ours; zmq does not say who."""
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == OTHER_KEY:
            self._count("curve_other_key", f"refused a client at {endpoint} that expects another key there: its graph.json may be old")
        else:  # it spoke no CURVE, or went away when it saw that we do
            self._count("curve_plain", f"refused a client at {endpoint} that showed no key")

    def _turned_away(self, event: int, value: int, endpoint: str) -> None:
        """By an endpoint that we connect to."""
        assert self.own is not None
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            text = f"{endpoint} does not let '{self.own.name}' in; run there: toddle keys allow {self.own.name} '{self.own.public}'"
            self._count("curve_not_allowed", text)
        else:
            self._count("curve_server", f"{endpoint} has ended a handshake: it does not have the key that it should, or was just ending")

    # -- telling ------------------------------------------------------------------------------------

    def warnings(self) -> list[str]:
        """Lines for a person, since the last call; at most one of a sort in ten seconds. For the node's thread."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines

    def _count(self, reason: Reason, text: str) -> None:
        self._refuse(reason)
        self._tell(reason, text)

    def _tell(self, sort: str, text: str) -> None:
        until_ns, more = self._told.get(sort, (0, 0))
        now = self.clock.mono_ns()
        if now < until_ns:
            self._told[sort] = (until_ns, more + 1)
            return
        self._told[sort] = (now + int(TELL_EVERY_S * NS_PER_S), 0)
        self._say(f"{text} ({more} more like this before)" if more else text)

    def _say(self, text: str) -> None:
        self._lines.append(text)


def _on_event(tell: Callable[[int, int, str], None], parts: list[memoryview]) -> None:
    event = parse_monitor_message([bytes(part) for part in parts])
    tell(int(event["event"]), int(event["value"]), event["endpoint"].decode(errors="replace"))
