"""Just enough of ZMTP 3 to break its rules on a plain socket: greeting, READY, frames that say any size."""

import socket as stdlib_socket
import struct

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32)


def plain(endpoint: str) -> tuple[stdlib_socket.socket, str | tuple[str, int]]:
    """A plain socket of the endpoint's family, with a time limit, and its address."""
    if endpoint.startswith("ipc://"):
        socket, address = stdlib_socket.socket(stdlib_socket.AF_UNIX), endpoint.removeprefix("ipc://")
    else:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        socket, address = stdlib_socket.socket(), (host, int(port))
    socket.settimeout(20)
    return socket, address


def dial(endpoint: str) -> stdlib_socket.socket:
    """A plain connection to an endpoint."""
    socket, address = plain(endpoint)
    socket.connect(address)
    return socket


def ready(kind: str) -> bytes:
    """The READY command of a socket of this kind."""
    body = b"\x05READY" + b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind.encode()
    return b"\x04" + bytes([len(body)]) + body


def greet(connection: stdlib_socket.socket, kind: str) -> None:
    """A whole handshake without security."""
    connection.sendall(GREETING + ready(kind))
    heard = b""
    while b"READY" not in heard:
        heard += connection.recv(4096)


def frame_of(size: int, more: bool = False) -> bytes:
    """The head of a message frame that says it has `size` bytes."""
    return bytes([0x02 | more]) + struct.pack(">Q", size)


def pour(connection: stdlib_socket.socket, size: int) -> int:
    """Send up to `size` zeros; how many went before the other side closed the connection."""
    sent, chunk = 0, bytes(1 << 20)
    try:
        while sent < size:
            sent += connection.send(chunk)
    except (ConnectionError, BrokenPipeError):
        pass
    return sent
