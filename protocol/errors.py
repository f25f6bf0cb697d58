"""Every way in which a message or the bus can be wrong, by name.

A `DecodeError` never stops a node: the bus counts it under its `reason` and takes the next message.
"""

from typing import Literal, get_args

Reason = Literal[
    "parts", "topic", "header_size", "msgpack", "version", "header", "size", "arrays", "body", "dtype", "shape", "length",
    "source", "content", "weights_old", "weights_hash", "weights_spec", "weights_fit", "reliable", "subscription", "control", "cut",
    "curve_stranger", "curve_revoked", "curve_plain", "curve_other_key", "curve_server", "curve_not_allowed",
]  # fmt: skip
"""Why something that came was refused: a message, by the codec, the bus or the node that took it; a word of the reliable
lane, a subscription, a control request; or a connection, because it broke the protocol or its limits, or for the key
behind it."""

REASONS: frozenset[str] = frozenset(get_args(Reason))
MAX_LINE = 500


def one_line(text: str) -> str:
    """What others wrote, fit for a log, a reply and a terminal: no line ends, no control characters, not long."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MAX_LINE])


class ProtocolError(Exception):
    """Base of everything this room raises."""


class DecodeError(ProtocolError):
    """Bytes that are not a message. `reason` is one of `REASONS`, fit for counting; `detail` becomes one short line."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"message refused ({reason}): {one_line(detail)}")
        self.reason: Reason = reason


class EncodeError(ProtocolError):
    """A message that must not be sent: too large for its topic, or with values the wire does not carry."""


class ControlError(ProtocolError):
    """A control request that was refused, not answered in time, or answered with an error."""


class BusClosed(ProtocolError):
    """The bus was closed while somebody waited on it."""


class BindError(ProtocolError):
    """An endpoint cannot be bound: taken, not permitted, or not allowed off this machine."""


class KeysError(ProtocolError):
    """A key that is missing, open to others, or not what it should be."""
