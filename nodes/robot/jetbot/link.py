"""A connection to the server on a JetBot: rpyc over TCP, with a key, TLS, both or neither. Every call is over within its time."""

import binascii
import hashlib
import hmac
import secrets
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rpyc.core import brine
from rpyc.core.channel import Channel
from rpyc.core.stream import SocketStream
from rpyc.utils.factory import connect_channel

from nodes.robot.interface import RobotError

GREETING = b"toddle-key 1 "
LONGEST_LINE = 200


class LinkError(Exception):
    """The JetBot was not reached, or no longer is: worth another try. One line."""


class TLSFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ca`: the certificate that the server's must be signed by, or be; `cert` and `key`: our own, for a server that asks."""

    ca: str
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class Address:
    """Where, how, and how long a call may take. `token` is what several connections of one client have in common."""

    host: str
    port: int
    token: str
    key: bytes = b""
    tls: TLSFiles | None = None
    timeout_s: float = 0.3

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Facts:
    """What a server says about itself; one that says nothing is not ours: it has no watchdog."""

    watchdog_s: float = 0.0
    poll_s: float = 0.0
    period_s: float = 0.0
    clock_s: float = 0.0
    simulated: bool = False


class _Stream(SocketStream):
    """Does not wait for the rest of an answer for longer than a call may take."""

    __slots__ = ("_timeout_s",)

    def __init__(self, sock: socket.socket, timeout_s: float) -> None:
        super().__init__(sock)
        self._timeout_s = timeout_s

    def read(self, count: int) -> bytes:
        until_s = time.monotonic() + self._timeout_s
        parts: list[bytes] = []
        while count > 0:
            try:
                part = self.sock.recv(min(self.MAX_IO_CHUNK, count))
                if not part or time.monotonic() > until_s:
                    raise EOFError("the connection was closed" if not part else "an answer broke off")
            except (OSError, EOFError) as error:
                self.close()
                raise EOFError(str(error) or "an answer broke off") from None
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


class _ChannelBefore6(Channel):
    """To a server with rpyc 4 or 5, which write a message's type, number and content as one; 6 writes the type before them."""

    def send(self, data: bytes) -> None:
        super().send(brine.dump((data[0], *brine.load(data[1:]))))

    def recv(self) -> bytes:
        kind, *rest = brine.load(super().recv())
        return bytes([kind]) + brine.dump(tuple(rest))


class _OtherRpyc(Exception):
    """What answers is rpyc, but of another age."""


def open_link(at: Address, before6: bool = False) -> "Link":
    """A connection in the words of the rpyc that is there; `before6`: those of the last time. Raises as `Link` does."""
    try:
        return Link(at, before6)
    except _OtherRpyc:
        return Link(at, not before6)


class Link:
    """One connection. Calls come from one thread; `cut` from any, and a call that waits then fails at once.

    Raises LinkError when there is nobody; RobotError for what another try would not change.
    """

    def __init__(self, at: Address, before6: bool) -> None:
        self._at, self.before6 = at, before6
        self._sock = _knock(at)
        channel = (_ChannelBefore6 if before6 else Channel)(_Stream(self._sock, at.timeout_s))
        self._connection = connect_channel(channel, config={"sync_request_timeout": at.timeout_s})
        try:
            root = self._root()
            self.set_motors = self._method(root, "set_motors")
            self._hello = self._method(root, "hello", missing=None)
            self.facts = self._facts()
            ours = self._hello is not None
            self._move = self._method(root, "move") if ours else None
            self._frame = self._method(root, "get_frame" if ours else "get_camera_frame")
        except LinkError as error:
            self.close()
            raise _why(at, error) from None
        except (RobotError, _OtherRpyc):
            self.close()
            raise
        self.ours = ours
        self.clock_s, self._heard_s = self.facts.clock_s, time.monotonic()

    def move(self, left: float, right: float) -> None:
        """Set the motors. LinkError also where the server heard it too late."""
        if self._move is None:
            self.call(self.set_motors, left, right)
            return
        if time.monotonic() - self._heard_s > self.facts.watchdog_s / 2:
            self._hear(_number(dict(self.call(self._hello, *self._name()))["clock"]))
        self._hear(_number(self.call(self._move, left, right, self.clock_s)))

    def frame(self, newer_than_s: float) -> tuple[float, float, bytes]:
        """When it was read, by the server's clock, how old it is, and the JPEG: empty while there is none read after `newer_than_s`.

        Of a server that is not ours nothing is known but the picture.
        """
        if not self.ours:
            return 0.0, 0.0, _jpeg_of_text(self.call(self._frame))
        answer = self.call(self._frame, newer_than_s)
        if not (isinstance(answer, tuple) and len(answer) == 4 and isinstance(answer[3], bytes)):
            raise RobotError(f"{self._at}: get_frame answered with something that is no frame")
        read_s, now_s = _number(answer[1]), _number(answer[2])
        self._hear(now_s)
        return read_s, now_s - read_s, answer[3]

    def now_s(self) -> float:
        """The server's clock, as far as it is known here: never ahead of it."""
        return self.clock_s + time.monotonic() - self._heard_s

    def call(self, method: Callable[..., Any], *args: Any) -> Any:
        return self._try(lambda: method(*args))

    def cut(self) -> None:
        """Break off, from any thread, without waiting: the other end is told, if the network still can."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go; from the thread that calls."""
        self.cut()
        with suppress(Exception):  # rpyc says goodbye first, to nobody
            self._connection.close()
        self._sock.close()

    def _root(self) -> Any:
        try:
            return self._connection.root
        except (ValueError, TypeError):  # its first answer makes no sense
            raise _OtherRpyc from None
        except Exception as error:
            raise self._one_line(error) from None

    def _hear(self, clock_s: float) -> None:
        self.clock_s, self._heard_s = clock_s, time.monotonic()

    def _name(self) -> tuple[str, str]:
        return "toddle", self._at.token

    def _facts(self) -> Facts:
        if self._hello is None:
            return Facts()
        said = dict(self.call(self._hello, *self._name()))
        numbers = (_number(said[name]) for name in ("watchdog_s", "poll_s", "period_s", "clock"))
        return Facts(*numbers, simulated=bool(said["simulated"]))

    def _method(self, root: Any, name: str, **default: Any) -> Any:
        try:
            return self._try(lambda: getattr(root, name))
        except AttributeError:
            if default:
                return default["missing"]
            raise RobotError(f"what answers at {self._at} has no {name}: it is no JetBot server") from None

    def _try(self, ask: Callable[[], Any]) -> Any:
        """What it gives. LinkError for what goes wrong on the way, RobotError for what the server refuses, AttributeError as it is."""
        try:
            return ask()
        except Exception as error:  # rpyc hands on whatever the server raised
            if hasattr(error, "_remote_tb") and isinstance(error, AttributeError):
                raise
            raise self._one_line(error) from None

    def _one_line(self, error: Exception) -> Exception:
        text = _first(error)
        if hasattr(error, "_remote_tb"):
            return (LinkError if text.startswith("too late") else RobotError)(f"{self._at}: {text}")
        if isinstance(error, TimeoutError):
            return LinkError(f"no answer from {self._at} within {self._at.timeout_s:g} s")
        return LinkError(f"{self._at}: {text}")


def read_key(path: str | None) -> bytes:
    """The shared key in a file; RobotError when there is none."""
    if path is None:
        return b""
    try:
        return Path(path).expanduser().read_bytes().strip()
    except OSError as error:
        raise RobotError(f"key_file {path}: {error.strerror}") from None


def _knock(at: Address) -> socket.socket:
    """Connect, and show what the server wants to see."""
    try:
        sock = socket.create_connection((at.host, at.port), timeout=max(at.timeout_s, 1.0))
    except OSError as error:
        raise LinkError(f"nobody answers at {at}: {error.strerror or error}") from None
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if at.tls is not None:
            sock = _wrapped(sock, at)
        if at.key:
            _show_key(sock, at)
        sock.settimeout(at.timeout_s)
    except BaseException:
        sock.close()
        raise
    return sock


def _wrapped(sock: socket.socket, at: Address) -> ssl.SSLSocket:
    """The certificate itself is trusted, whatever name or address it is reached by."""
    assert at.tls is not None
    try:
        context = ssl.create_default_context(cafile=at.tls.ca)
        context.check_hostname = False
        if at.tls.cert:
            context.load_cert_chain(at.tls.cert, at.tls.key)
    except OSError as error:
        raise RobotError(f"tls: {at.tls.ca}, {at.tls.cert}: {error.strerror or error}") from None
    try:
        return context.wrap_socket(sock)
    except ssl.SSLError as error:
        raise RobotError(f"{at} refuses TLS, or shows another certificate: {error.reason or error}") from None
    except OSError as error:
        raise LinkError(f"{at} does not answer with TLS: {error}") from None


def _show_key(sock: socket.socket, at: Address) -> None:
    """Prove that we have the key, and have the server prove it; the key itself is never sent."""
    try:
        greeting = _read_line(sock)
        if not greeting.startswith(GREETING):
            raise RobotError(f"{at} does not ask for a toddle key: start its server with --key-file, or leave out key_file")
        theirs, ours = greeting[len(GREETING) :], secrets.token_hex(16).encode()
        sock.sendall(ours + b" " + prove(at.key, b"client", theirs, ours) + b"\n")
        said, _, proof = _read_line(sock).partition(b" ")
    except TimeoutError:
        raise RobotError(f"{at} does not ask for a key: start its server with --key-file, or leave out key_file") from None
    except OSError as error:
        raise LinkError(f"{at}: {error.strerror or error}") from None
    if said != b"ok":
        raise RobotError(f"{at} refuses this key: key_file must hold the same as the server's --key-file")
    if not hmac.compare_digest(proof, prove(at.key, b"server", theirs, ours)):
        raise RobotError(f"{at} does not have this key: it is not the server that it says it is")


def prove(key: bytes, who: bytes, first: bytes, second: bytes) -> bytes:
    """As in onboard/jetbot_server.py."""
    return hmac.new(key, b" ".join((who, first, second)), hashlib.sha256).hexdigest().encode()


def _read_line(sock: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte or len(line) >= LONGEST_LINE:
            raise ConnectionError("the connection was closed at the door")
        line += byte
    return line[:-1]


def _why(at: Address, error: LinkError) -> Exception:
    """A server that wants a key says so to whoever connects: then that is what is wrong."""
    if at.key or at.tls is not None:
        return error
    with suppress(OSError), socket.create_connection((at.host, at.port), timeout=at.timeout_s) as sock:
        if sock.recv(len(GREETING)).startswith(GREETING[:10]):
            return RobotError(f"{at} wants a key: give key_file, the same as the server's --key-file")
    return error


def _number(value: Any) -> float:
    if not isinstance(value, int | float):
        raise RobotError(f"the JetBot's server answered with a {type(value).__name__}, not a number")
    return float(value)


def _jpeg_of_text(text: Any) -> bytes:
    if not text:
        return b""
    try:
        return binascii.a2b_base64(text)
    except (binascii.Error, TypeError, ValueError) as error:
        raise RobotError(f"the JetBot's server gave a picture that is no base64: {error}") from None


def _first(error: BaseException) -> str:
    """What was raised over there, without rpyc's account of where."""
    text = str(error.args[0]) if error.args else type(error).__name__
    return text.splitlines()[0] if text else type(error).__name__
