"""Control requests: a question to one node's control endpoint, and its answer.

On the wire: `[payload]` from a DEALER to the node's ROUTER and back, msgpack dicts
`{v, id, command, args, by}` and `{v, id, ok, result | error}`.
"""

import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgpack
import msgspec
import zmq

from protocol import sockets
from protocol.errors import ControlError, DecodeError, one_line
from protocol.keys import KeyPair

CONTROL_VERSION = 1
MAX_REQUEST_BYTES = 64 * 1024
MAX_REPLY_BYTES = 1 << 20
MAX_ITEMS = 1024


class _Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    id: str
    command: str
    args: dict[str, Any]
    by: str


class _Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    id: str
    ok: bool
    result: dict[str, Any] = {}
    error: str = ""


@dataclass(frozen=True)
class ControlRequest:
    """A request to answer with `reply` or `refuse`: the first answer is sent, later ones are not.

    `heard_ns` is when it came, by this process's monotonic clock.
    """

    command: str
    args: dict[str, Any]
    by: str
    send: Callable[[bytes], None] = field(repr=False)
    id: str = ""
    heard_ns: int = field(default_factory=time.monotonic_ns, compare=False)
    _answered: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)

    def reply(self, result: dict[str, Any] | None = None) -> None:
        """ValueError, TypeError or OverflowError when the result cannot be sent; then it is still to be refused."""
        payload = _pack(_Reply(CONTROL_VERSION, self.id, True, result or {}))
        if len(payload) > MAX_REPLY_BYTES:
            raise ValueError(f"the answer has {len(payload)} bytes, the limit is {MAX_REPLY_BYTES}")
        self._answer(payload)

    def refuse(self, text: str) -> None:
        self._answer(_pack(_Reply(CONTROL_VERSION, self.id, False, error=one_line(text))))

    def _answer(self, payload: bytes) -> None:
        if not self._answered.is_set():
            self._answered.set()
            self.send(payload)

    def answer_unheard(self, why: str) -> None:
        """For a node that takes no more requests: a stop is as good as done, all else is refused."""
        if self.command == "stop":
            self.reply()
        else:
            self.refuse(f"{self.command!r} was not done: the node {why}")


def parse_request(payload: bytes, send: Callable[[bytes], None]) -> ControlRequest:
    """The request in `payload`; DecodeError when it is none."""
    if len(payload) > MAX_REQUEST_BYTES:
        raise DecodeError("control", f"{len(payload)} bytes, the limit is {MAX_REQUEST_BYTES}")
    request = _unpack(payload, _Request)
    return ControlRequest(request.command, request.args, one_line(request.by), send, request.id)


def ask(
    context: zmq.Context[Any], endpoint: str, command: str, args: dict[str, Any], by: str, timeout_s: float,
    own: KeyPair | None = None, key: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Ask the node at `endpoint` and wait for its answer; ControlError when it refuses or stays silent.

    Where the node has a public `key`, the question goes to its holder alone, and in the name of `own`.
    """
    try:
        payload = _pack(_Request(CONTROL_VERSION, uuid.uuid4().hex, command, args, by))
    except (TypeError, ValueError, OverflowError) as error:
        raise ControlError(f"{command!r}: its arguments cannot be sent: {error}") from None
    if len(payload) > MAX_REQUEST_BYTES:
        raise ControlError(f"{command[:60]!r}: a request of {len(payload)} bytes, the limit is {MAX_REQUEST_BYTES}")
    with context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.maxmsgsize = MAX_REPLY_BYTES
        if own is not None and key:
            own.call(socket, key)
        sockets.speak_ipv6(socket, endpoint)
        socket.connect(endpoint)
        socket.send(payload)
        if not socket.poll(int(timeout_s * 1000)):
            hint = f", and does it let '{own.name}' in" if own is not None and key else ""
            raise ControlError(f"no answer to {command!r} from {endpoint} within {timeout_s:g} s; is the node running{hint}?")
        try:
            reply = _unpack(socket.recv(), _Reply)
        except DecodeError as error:
            raise ControlError(f"{command!r}: the answer is no control reply ({error})") from None
    if not reply.ok:
        raise ControlError(reply.error)
    return reply.result


def _pack(value: _Request | _Reply) -> bytes:
    return bytes(msgpack.packb(msgspec.to_builtins(value)))


def _unpack[T](payload: bytes, kind: type[T]) -> T:
    try:
        return msgspec.convert(msgpack.unpackb(payload, max_ext_len=0, max_array_len=MAX_ITEMS), kind)
    except Exception as error:  # msgpack raises many kinds; all mean: not a control message
        raise DecodeError("control", f"{type(error).__name__}: {error}") from None
