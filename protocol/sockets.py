"""Binding and connecting, with the errors a person can act on."""

import socket as stdlib_socket
from typing import Any
from urllib.parse import urlparse

import zmq

from protocol.errors import BindError

COPY_THRESHOLD_BYTES = 450 * 1024
"""Below this a copied send is as fast as a zero-copy one, or faster; above it zero-copy wins."""

LATEST_HWM = 16
CLOSE_LINGER_MS = 1000


def bind(context: zmq.Context[Any], kind: int, endpoint: str, hwm: int) -> zmq.Socket[Any]:
    """A bound socket; BindError when the endpoint is taken, malformed, or off this machine."""
    refuse_remote(endpoint)
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.copy_threshold = COPY_THRESHOLD_BYTES
    socket.set_hwm(hwm)
    socket.linger = CLOSE_LINGER_MS
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        socket.close(0)
        raise BindError(f"cannot bind {endpoint}: {error.strerror}; is another run using it?") from None
    return socket


def connect(context: zmq.Context[Any], kind: int, endpoint: str, hwm: int) -> zmq.Socket[Any]:
    """A connected socket; the other side may come later or come back."""
    socket: zmq.Socket[Any] = context.socket(kind)
    socket.copy_threshold = COPY_THRESHOLD_BYTES
    socket.set_hwm(hwm)
    socket.linger = 0
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 500)
    socket.connect(endpoint)
    return socket


def refuse_remote(endpoint: str) -> None:
    """BindError unless `endpoint` is ipc, inproc or a loopback tcp address."""
    if not endpoint.startswith("tcp://"):
        return
    host = urlparse(endpoint).hostname or ""
    if host not in ("127.0.0.1", "localhost", "::1"):
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
