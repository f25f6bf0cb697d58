"""Six servos on one wire: an instruction comes, answers go. Pure: what time it is, it is told."""

from collections.abc import Iterator, Sequence

from emulators import so101_packets as wire
from emulators.errors import FaultError
from emulators.so101_faults import Faults
from emulators.so101_packets import Instruction
from emulators.so101_servo import FIRMWARE, FIRMWARE_MINOR, Joint, Servo

SLOW_S = 0.08
OTHER_FIRMWARE = 9

Answer = tuple[float, bytes]
"""How long it takes, in seconds, and the packet."""


class Bus:
    """Servos that answer instructions, and move while time passes."""

    def __init__(self, joints: Sequence[Joint]) -> None:
        self.servos = [Servo(joint) for joint in joints]
        self.faults = Faults()
        self._now_s: float | None = None
        self._waiting: dict[int, tuple[int, bytes]] = {}  # by servo: what a REG_WRITE left for ACTION

    def advance(self, now_s: float) -> None:
        """Let all move until `now_s`, by any clock that does not go back."""
        dt_s = 0.0 if self._now_s is None else max(0.0, now_s - self._now_s)
        self._now_s = now_s
        for servo in self.servos:
            self._apply_faults(servo)
            servo.advance(dt_s)

    def positions(self) -> dict[str, int]:
        """By joint, in counts as the bus reads them."""
        return {servo.joint.name: servo.position for servo in self.servos}

    def servo(self, motor: int | str) -> Servo:
        """By id or by the joint's name."""
        for servo in self.servos:
            if motor in (servo.id, servo.joint.name):
                return servo
        known = ", ".join(f"{servo.id} {servo.joint.name}" for servo in self.servos)
        raise FaultError(f"there is no motor {motor!r}; there are {known}")

    def handle(self, asked: Instruction) -> list[Answer]:
        """Do it; the answers, in the order in which they go over the wire."""
        return list(self._sync(asked) if asked.code in (wire.SYNC_READ, wire.SYNC_WRITE) else self._each(asked))

    def _each(self, asked: Instruction) -> Iterator[Answer]:
        for servo in [servo for servo in self.servos if asked.servo in (servo.id, wire.BROADCAST) and self._hears(servo)]:
            own, data = servo.id, self._one(servo, asked)  # a servo that is given another id answers with the old one
            if data is not None and (asked.servo != wire.BROADCAST or asked.code == wire.PING):
                yield from self._answer(servo, own, data)

    def _one(self, servo: Servo, asked: Instruction) -> bytes | None:
        """What one servo answers; None when it takes no notice."""
        given = asked.parameters
        match asked.code:
            case wire.PING:
                return b""
            case wire.READ if len(given) == 2:
                return servo.read(given[0], given[1])
            case wire.WRITE if given:
                servo.write(given[0], given[1:])
                return b""
            case wire.REG_WRITE if given:
                self._waiting[servo.id] = given[0], given[1:]
                return b""
            case wire.ACTION:
                if servo.id in self._waiting:
                    servo.write(*self._waiting.pop(servo.id))
                return b""
        return None

    def _sync(self, asked: Instruction) -> Iterator[Answer]:
        """Several servos with one instruction: they answer a read, one after the other, and no write."""
        if len(asked.parameters) < 2:
            return
        address, count, given = asked.parameters[0], asked.parameters[1], asked.parameters[2:]
        if asked.code == wire.SYNC_READ:
            for each in given:
                for servo in self._listening(each):
                    yield from self._answer(servo, each, servo.read(address, count))
            return
        for at in range(0, len(given) - count, count + 1):
            for servo in self._listening(given[at]):
                servo.write(address, given[at + 1 : at + 1 + count])

    def _listening(self, number: int) -> list[Servo]:
        return [servo for servo in self.servos if servo.id == number and self._hears(servo)]

    def _hears(self, servo: Servo) -> bool:
        return not self.faults.has(servo.joint.id, "missing")

    def _answer(self, servo: Servo, number: int, data: bytes) -> Iterator[Answer]:
        on = self.faults.take(servo.joint.id)
        if "no-answer" in on:
            return
        name = number % len(self.servos) + 1 if "wrong-id" in on else number
        said = wire.packet(name, servo.status, data)
        if "bad-checksum" in on:
            said = said[:-1] + bytes([said[-1] ^ 0xFF])
        yield (SLOW_S if "slow" in on else 0.0), said

    def _apply_faults(self, servo: Servo) -> None:
        """Faults that are not in an answer but in what the servo is."""
        number = servo.joint.id
        servo.status = wire.OVERLOAD * self.faults.has(number, "overload") | wire.VOLTAGE * self.faults.has(number, "voltage")
        servo.stuck = self.faults.has(number, "stuck")
        if self.faults.has(number, "missing"):
            servo.lose_power()
        servo.memory[FIRMWARE_MINOR] = OTHER_FIRMWARE if self.faults.has(number, "mixed-firmware") else FIRMWARE[1]
