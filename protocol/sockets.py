"""Binding and connecting, with the errors a person can act on."""

import contextlib
import errno
import ipaddress
import os
import socket as stdlib_socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import zmq

from protocol.codec import Buffer
from protocol.errors import BindError, DecodeError, Reason

if TYPE_CHECKING:
    from protocol.guarding import Guard

COPY_THRESHOLD_BYTES = 450 * 1024
"""Below this a copied send is as fast as a zero-copy one, or faster; above it zero-copy wins."""

SHARED_BYTES = 4096
"""Smaller parts are copied for each subscriber: cheaper than to count who has them."""

LINK_BEAT_MS, LINK_DEAD_MS = 1000, 3000
"""A tcp link is asked for a sign of life so often, and given up for a new one after so long without."""

LATEST_HWM = 32
RECEIVE_HWM = 1024
"""Messages that wait in a socket to be read: more than a window of the reliable lane, and an end to any flood."""

CLIENT_BYTES: dict[int, int] = {zmq.XPUB: 1024, zmq.ROUTER: 128 * 1024}
"""What a client of a bound socket may say in one part: a subscription; an acknowledgement, or a request of at most half
of this. Whoever says more is cut off, before there is memory for it; one of ours would connect again."""

MARGIN_BYTES = 1 << 20
"""A part of a publisher that is a little over its topic's limit is refused by name. The last defence is further out,
because it costs the connection: zmq never makes one again that broke its limit, so `Subscribing` has to."""

CLOSE_LINGER_MS = 1000
DRAIN_MESSAGES = 256
"""Taken from one socket before the others have their turn, heartbeats among them."""

# pyzmq's outer layer costs as much as the rest of a small message's way: enumerations, and a look at every option
_send: Any = zmq.backend.Socket.send
_receive: Any = zmq.backend.Socket.recv
_poll: Any = zmq.backend.zmq_poll
_Frame: Any = zmq.Frame
_NOBLOCK, _NOBLOCK_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_POLLIN = int(zmq.POLLIN)


def bind(context: zmq.Context[Any], kind: int, endpoint: str, hwm: int, guard: "Guard", patience_s: float = 0.0) -> zmq.Socket[Any]:
    """A bound socket; BindError when the endpoint is taken (for longer than `patience_s`), malformed, or open to strangers."""
    refuse_open(endpoint, guard.stands)
    if _is_taken(endpoint):  # zmq would take the file away from whoever listens there
        raise BindError(f"cannot bind {endpoint}: Address already in use; is another run using it?")
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.copy_threshold = COPY_THRESHOLD_BYTES
    socket.sndhwm = hwm
    socket.rcvhwm = RECEIVE_HWM
    socket.maxmsgsize = CLIENT_BYTES[kind]
    socket.linger = CLOSE_LINGER_MS
    guard.serve(socket, endpoint)
    suit_tcp(socket, endpoint)
    until_s = time.monotonic() + patience_s
    while True:
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < until_s:
                time.sleep(0.002)  # what was bound here before lets go of it on zmq's own thread
                continue
            guard.forget(socket)
            socket.close(0)
            raise BindError(f"cannot bind {endpoint}: {zmq.strerror(error.errno or 0)}; is another run using it?") from None
        return socket


def connect(context: zmq.Context[Any], kind: int, endpoint: str, max_bytes: int, guard: "Guard", key: str) -> zmq.Socket[Any]:
    """A connected socket for parts of at most `max_bytes`, to the holder of `key` if there is one; the other side may
    come later or come back."""
    socket = _connecting(context, kind, RECEIVE_HWM, max_bytes)
    guard.call(socket, key)
    suit_tcp(socket, endpoint)
    socket.connect(endpoint)
    return socket


def connect_again(socket: zmq.Socket[Any], endpoint: str) -> None:
    """Make a connection anew that zmq has given up for good, or that is dead without knowing it."""
    with contextlib.suppress(zmq.ZMQError):  # nothing is left of it
        socket.disconnect(endpoint)
    socket.connect(endpoint)


def subscriber(context: zmq.Context[Any], hwm: int, max_bytes: int) -> zmq.Socket[Any]:
    """A SUB socket for parts of at most `max_bytes`, to subscribe and connect."""
    return _connecting(context, zmq.SUB, hwm, max_bytes)


def shared(part: Buffer) -> Buffer:
    """A part that any number of subscribers can be sent with one copy at most, and with none when it is large."""
    return part if len(part) < SHARED_BYTES else _Frame(part, False, None, COPY_THRESHOLD_BYTES)


def send(socket: zmq.Socket[Any], parts: Sequence[Buffer]) -> bool:
    """Send without waiting; False when the other side has no room, or is gone."""
    left = len(parts)
    try:
        for part in parts:
            left -= 1
            _send(socket, part, _NOBLOCK_MORE if left else _NOBLOCK, len(part) < COPY_THRESHOLD_BYTES)
    except zmq.ZMQError as error:
        if error.errno in (zmq.EHOSTUNREACH, zmq.EAGAIN):
            return False
        raise
    return True


def readable(socket: zmq.Socket[Any]) -> bool:
    """Whether something waits in the socket."""
    return bool(_poll([(socket, _POLLIN)], 0))


def drain(socket: zmq.Socket[Any], handle: Callable[[list[memoryview]], None], refuse: Callable[[Reason], None]) -> int:
    """Take what a socket holds, at most DRAIN_MESSAGES; what is no message goes to `refuse` by its reason. How many there were."""
    for taken in range(DRAIN_MESSAGES):
        if not readable(socket):  # cheaper than to ask for a message and be told that there is none
            return taken
        frame = _receive(socket, _NOBLOCK, False)
        parts = [memoryview(frame)]
        while frame.more:
            frame = _receive(socket, _NOBLOCK, False)
            parts.append(memoryview(frame))
        try:
            handle(parts)
        except DecodeError as error:
            refuse(error.reason)
    return DRAIN_MESSAGES


def refuse_open(endpoint: str, guarded: bool) -> None:
    """BindError unless `endpoint` is for this user or this machine alone, or `guarded` by keys."""
    if endpoint.startswith("inproc://"):
        return
    if endpoint.startswith("ipc://"):
        _refuse_open_folder(endpoint)
    elif not endpoint.startswith("tcp://"):
        raise BindError(f"{endpoint[:200]} is no ipc or tcp address")
    elif not (guarded or is_loopback(endpoint)):
        raise BindError(
            f"{endpoint[:200]} can be reached from other machines, which takes a key: run `toddle keys new`, start with --key NAME, "
            "and let others in with `toddle keys allow`"
        )


def is_loopback(endpoint: str) -> bool:
    """Whether a tcp endpoint is an address that only this machine can reach."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, an interface, *
        return False


def wake_pair() -> tuple[stdlib_socket.socket, stdlib_socket.socket]:
    """Two connected non-blocking sockets: a byte written to one wakes a poller on the other."""
    sender, receiver = stdlib_socket.socketpair()
    sender.setblocking(False)
    receiver.setblocking(False)
    return sender, receiver


def _connecting(context: zmq.Context[Any], kind: int, hwm: int, max_bytes: int) -> zmq.Socket[Any]:
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.copy_threshold = COPY_THRESHOLD_BYTES
    socket.sndhwm = 0  # subscriptions and acknowledgements are never held back
    socket.rcvhwm = hwm
    socket.maxmsgsize = max_bytes + MARGIN_BYTES
    socket.linger = 0
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    return socket


def _refuse_open_folder(endpoint: str) -> None:
    """Whoever may enter its folder may connect to an ipc socket; an abstract one has no folder."""
    path = endpoint.removeprefix("ipc://")
    if path.startswith("@"):
        raise BindError(f"{endpoint} is open to every user of this machine; give a path in a folder of mode 0700")
    folder = os.path.dirname(path) or "."
    try:
        found = os.stat(folder)
    except OSError:
        return  # bind says what is wrong with it
    if hasattr(os, "geteuid") and (found.st_mode & 0o077 or found.st_uid != os.geteuid()):
        raise BindError(f"cannot bind {endpoint}: {folder} is not a private folder of yours; run `chmod 700 {folder}` or take another")


def speak_ipv6(socket: zmq.Socket[Any], endpoint: str) -> None:
    """Before `socket` binds or connects to an address like tcp://[::1]:5000."""
    if endpoint.startswith("tcp://["):
        socket.ipv6 = True


def suit_tcp(socket: zmq.Socket[Any], endpoint: str) -> None:
    """Before `socket` binds or connects: over tcp the other end can be gone, or deaf, without a word."""
    speak_ipv6(socket, endpoint)
    if endpoint.startswith("tcp://"):
        socket.heartbeat_ivl, socket.heartbeat_timeout = LINK_BEAT_MS, LINK_DEAD_MS
        socket.handshake_ivl = LINK_DEAD_MS


def _is_taken(endpoint: str) -> bool:
    """Whether somebody listens on an ipc endpoint; a file left behind by the dead is nobody."""
    path = endpoint.removeprefix("ipc://")
    if path == endpoint or path.startswith("@") or not hasattr(stdlib_socket, "AF_UNIX"):
        return False
    with stdlib_socket.socket(stdlib_socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
