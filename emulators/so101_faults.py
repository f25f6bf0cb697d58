"""What can go wrong on purpose: which faults are on, for which servo, for how many packets. Pure."""

from dataclasses import dataclass

PACKET_FAULTS = {
    "no-answer": "it does what it is told, and says nothing",
    "bad-checksum": "its answers arrive damaged",
    "wrong-id": "it answers in the name of another",
    "slow": "it answers after 80 ms, too late for lerobot",
    "overload": "its answers carry the overload bit, and it lets go",
    "voltage": "its answers carry the voltage bit",
}
STATE_FAULTS = {
    "missing": "it is not on the bus: it hears nothing, says nothing and has no torque",
    "stuck": "it never moves",
    "mixed-firmware": "it has another firmware than the others",
}
MOTOR_FAULTS = {**PACKET_FAULTS, **STATE_FAULTS}
BUS_FAULTS = {"unplug": "the port is gone", "plug": "the port is back, under the same path"}
CAMERA_FAULTS = {"camera-frozen": "it sends the same picture again and again", "camera-gone": "it sends nothing"}
FAULTS = {**MOTOR_FAULTS, **BUS_FAULTS, **CAMERA_FAULTS, "heal": "everything works again"}


class FaultError(ValueError):
    """There is no such fault, motor or camera. One line."""


@dataclass
class Fault:
    """One fault of one servo; `packets_left` is None until healed."""

    name: str
    packets_left: int | None = None


class Faults:
    """The faults that are on, by servo."""

    def __init__(self) -> None:
        self._on: dict[int, dict[str, Fault]] = {}

    def add(self, name: str, motors: list[int], packets: int | None) -> None:
        for motor in motors:
            self._on.setdefault(motor, {})[name] = Fault(name, packets)

    def clear(self) -> None:
        self._on.clear()

    def has(self, motor: int, name: str) -> bool:
        """Whether it is on."""
        return name in self._on.get(motor, {})

    def take(self, motor: int) -> set[str]:
        """The faults that an answer of this servo has; one packet of each is used up."""
        on = self._on.get(motor, {})
        taken = set(on)
        for fault in list(on.values()):
            if fault.packets_left is not None:
                fault.packets_left -= 1
                if fault.packets_left <= 0:
                    del on[fault.name]
        return taken
