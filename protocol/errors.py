"""Every way in which a message or the bus can be wrong, by name.

A `DecodeError` never stops a node: the bus counts it under its `reason` and takes the next message.
"""


class ProtocolError(Exception):
    """Base of everything this room raises."""


class DecodeError(ProtocolError):
    """Bytes that are not a message. `reason` is a short fixed word, fit for counting."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"message refused ({reason}): {detail}")
        self.reason = reason


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
