"""What can go wrong on purpose: which faults are on, for which servo, for how many answers. Pure."""

from dataclasses import dataclass

from emulators.errors import FaultError

MOTOR_FAULTS = {
    "no-answer": "it does what it is told, and says nothing",
    "bad-checksum": "its answers arrive damaged",
    "wrong-id": "it answers in the name of another",
    "slow": "it answers 80 ms late: lerobot waits for 50",
    "overload": "its answers carry the overload bit, and it lets go",
    "voltage": "its answers carry the voltage bit",
    "stuck": "it never moves, however hard it tries",
    "missing": "it is off the bus and without power; when it is back, its torque is off",
    "mixed-firmware": "it has another firmware than the others",
}
BUS_FAULTS = {"unplug": "the port is gone; the servos keep their power", "plug": "the port is back, under the same path"}
CAMERA_FAULTS = {"camera-frozen": "it sends the same picture again and again", "camera-gone": "it sends nothing"}
HEAL = {"heal": "everything works again, and is plugged in"}
FAULTS = {**MOTOR_FAULTS, **BUS_FAULTS, **CAMERA_FAULTS, **HEAL}


@dataclass(frozen=True)
class Wish:
    """A fault that somebody asks for, as the arguments of `SO101Emulator.fault`."""

    name: str
    motor: int | str | None = None
    camera: str | None = None
    packets: int | None = None


def parse(line: str) -> Wish:
    """`NAME [MOTOR] [xANSWERS]` or `NAME [CAMERA]`; FaultError, one line, for anything else."""
    name, *rest = line.split()
    if name not in FAULTS:
        raise FaultError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
    motor: int | str | None = None
    packets = None
    if name in MOTOR_FAULTS and rest and rest[-1][0] == "x" and rest[-1][1:].isdecimal() and int(rest[-1][1:]):
        packets = int(rest.pop()[1:])
    if name in CAMERA_FAULTS and len(rest) <= 1:
        return Wish(name, camera=rest[0] if rest else None)
    if name in MOTOR_FAULTS and len(rest) <= 1:
        motor = int(rest[0]) if rest and rest[0].isdecimal() else rest[0] if rest else None
    elif rest:
        raise FaultError(f"{line.strip()!r}: write {usage(name)}")
    return Wish(name, motor=motor, packets=packets)


def usage(name: str) -> str:
    """How a line says it."""
    return name + (" [MOTOR] [xANSWERS]" if name in MOTOR_FAULTS else " [CAMERA]" if name in CAMERA_FAULTS else "")


class Faults:
    """The faults that are on, by servo: each with how many answers are left to it, None for until healed."""

    def __init__(self) -> None:
        self._on: dict[int, dict[str, int | None]] = {}

    def add(self, name: str, motors: list[int], packets: int | None) -> None:
        for motor in motors:
            self._on.setdefault(motor, {})[name] = packets

    def clear(self) -> None:
        self._on.clear()

    def has(self, motor: int, name: str) -> bool:
        """Whether it is on."""
        return name in self._on.get(motor, {})

    def take(self, motor: int) -> set[str]:
        """The faults that an answer of this servo has; one answer of each is used up."""
        on = self._on.get(motor, {})
        taken = set(on)
        for name, left in list(on.items()):
            if left is not None and left <= 1:
                del on[name]
            elif left is not None:
                on[name] = left - 1
        return taken
