"""Packets of the Feetech bus, protocol 0. Pure.

An instruction is FF FF ID LENGTH INSTRUCTION PARAMETERS... CHECKSUM; an answer has its error bits in place of the instruction.
LENGTH counts what comes after it; CHECKSUM is the inverted sum of all between it and the header.
"""

from dataclasses import dataclass

HEADER = b"\xff\xff"
BROADCAST = 0xFE
LONGEST = 250

PING, READ, WRITE, REG_WRITE, ACTION, SYNC_READ, SYNC_WRITE = 1, 2, 3, 4, 5, 0x82, 0x83

VOLTAGE, OVERLOAD = 1, 32  # bits of an answer's error byte


@dataclass(frozen=True)
class Instruction:
    """What the computer asks a servo, by its id, or all (BROADCAST), to do."""

    servo: int
    code: int
    parameters: bytes


class Parser:
    """From bytes as they come to instructions. Noise is skipped; so is a packet whose checksum is wrong."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    @property
    def waiting(self) -> bool:
        """Whether part of a packet has come."""
        return bool(self._bytes)

    def clear(self) -> None:
        """Forget the part that has come: the rest never will."""
        self._bytes.clear()

    def feed(self, data: bytes) -> list[Instruction]:
        """The instructions that are complete with these bytes."""
        self._bytes += data
        found: list[Instruction] = []
        while (start := self._bytes.find(HEADER)) >= 0:
            del self._bytes[:start]
            if len(self._bytes) < 4:
                return found
            servo, length = self._bytes[2], self._bytes[3]
            if servo > BROADCAST or not 2 <= length <= LONGEST - 4:
                del self._bytes[0]
                continue
            if len(self._bytes) < length + 4:
                return found
            packet = bytes(self._bytes[2 : length + 4])
            if packet[-1] != checksum(packet[:-1]):
                del self._bytes[0]
                continue
            del self._bytes[: length + 4]
            found.append(Instruction(servo, packet[2], packet[3:-1]))
        del self._bytes[: len(self._bytes) - self._bytes.endswith(b"\xff")]
        return found


def checksum(body: bytes) -> int:
    """Of all between header and checksum."""
    return ~sum(body) & 0xFF


def packet(servo: int, code: int, data: bytes = b"") -> bytes:
    """An instruction, or an answer with its error bits as `code`."""
    body = bytes([servo, len(data) + 2, code]) + data
    return HEADER + body + bytes([checksum(body)])
