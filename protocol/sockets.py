"""Binding and connecting, with the errors a person can act on."""

import socket as stdlib_socket
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlparse

import zmq

from protocol.codec import Buffer
from protocol.errors import BindError, DecodeError

COPY_THRESHOLD_BYTES = 450 * 1024
"""Below this a copied send is as fast as a zero-copy one, or faster; above it zero-copy wins."""

LATEST_HWM = 32
CLOSE_LINGER_MS = 1000
DRAIN_MESSAGES = 256
"""Taken from one socket before the others have their turn, heartbeats among them."""

# pyzmq's outer layer costs as much as the rest of a small message's way: enumerations, and a look at every option
_send, _receive, _get = zmq.backend.Socket.send, zmq.backend.Socket.recv, zmq.backend.Socket.get
_NOBLOCK, _NOBLOCK_MORE = int(zmq.NOBLOCK), int(zmq.NOBLOCK | zmq.SNDMORE)
_EVENTS, _POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)


def bind(context: zmq.Context[Any], kind: int, endpoint: str, hwm: int) -> zmq.Socket[Any]:
    """A bound socket; BindError when the endpoint is taken, malformed, or off this machine."""
    refuse_remote(endpoint)
    if _is_taken(endpoint):  # zmq would take the file away from whoever listens there
        raise BindError(f"cannot bind {endpoint}: Address already in use; is another run using it?")
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.copy_threshold = COPY_THRESHOLD_BYTES
    socket.set_hwm(hwm)
    socket.linger = CLOSE_LINGER_MS
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close(0)
        raise BindError(f"cannot bind {endpoint}: {zmq.strerror(error.errno or 0)}; is another run using it?") from None
    return socket


def connect(context: zmq.Context[Any], kind: int, endpoint: str, hwm: int) -> zmq.Socket[Any]:
    """A connected socket; the other side may come later or come back."""
    socket = _connecting(context, kind, hwm)
    socket.connect(endpoint)
    return socket


def subscriber(context: zmq.Context[Any], hwm: int) -> zmq.Socket[Any]:
    """A SUB socket to subscribe and connect."""
    return _connecting(context, zmq.SUB, hwm)


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
    return bool(int(_get(socket, _EVENTS)) & _POLLIN)


def drain(socket: zmq.Socket[Any], handle: Callable[[list[memoryview]], None], refuse: Callable[[str], None]) -> None:
    """Take what a socket holds; what is no message goes to `refuse` by its reason and is passed over."""
    for _ in range(DRAIN_MESSAGES):
        try:
            frame = _receive(socket, _NOBLOCK, False)
        except zmq.Again:
            return
        parts = [frame.buffer]
        while frame.more:
            frame = _receive(socket, _NOBLOCK, False)
            parts.append(frame.buffer)
        try:
            handle(parts)
        except DecodeError as error:
            refuse(error.reason)


def refuse_remote(endpoint: str) -> None:
    """BindError unless `endpoint` is ipc, inproc or a loopback tcp address."""
    if endpoint.startswith(("ipc://", "inproc://")):
        return
    try:
        host = urlparse(endpoint).hostname or ""
    except ValueError:
        host = ""
    if not endpoint.startswith("tcp://") or host not in ("127.0.0.1", "localhost", "::1"):
        raise BindError(
            f"{endpoint} is not a loopback address: messages off this machine need keys, which this "
            "version does not have; bind 127.0.0.1 and reach it with `ssh -L`"
        )


def wake_pair() -> tuple[stdlib_socket.socket, stdlib_socket.socket]:
    """Two connected non-blocking sockets: a byte written to one wakes a poller on the other."""
    sender, receiver = stdlib_socket.socketpair()
    sender.setblocking(False)
    receiver.setblocking(False)
    return sender, receiver


def _connecting(context: zmq.Context[Any], kind: int, hwm: int) -> zmq.Socket[Any]:
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.copy_threshold = COPY_THRESHOLD_BYTES
    socket.set_hwm(hwm)
    socket.linger = 0
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    return socket


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
