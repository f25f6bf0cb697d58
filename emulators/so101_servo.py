"""One STS3215 servo: registers, and the motion behind them. Pure: what time it is, it is told."""

from dataclasses import dataclass
from typing import Self

from emulators.so101_motion import Drive, State, advance

COUNTS = 4096
MODEL = 777
FIRMWARE = (3, 10)
MAX_SPEED = 3400
ACCELERATION_UNIT = 100  # counts/s^2
FASTEST = 254
CURRENT_PER_LOAD = 0.4  # in 6.5 mA

EEPROM_END = 40
READ_ONLY = frozenset({0, 1, 3, 4, *range(56, 71)})
POWERED_UP = {5: 1, 8: 1, 13: 70, 14: 80, 15: 40, 18: 0x1C, 19: 44, 20: 47, 21: 32, 22: 32, 24: 16, 26: 1, 27: 1, 30: 1,
              34: 20, 35: 200, 36: 80, 37: 10, 38: 200, 39: 200, 62: 74, 63: 28, 81: 20, 84: 68, 85: 254, 86: 1}  # fmt: skip
POWERED_UP_WORDS = {3: MODEL, 16: 1000, 28: 500, 48: 1000}

FIRMWARE_MINOR, ID, MIN_LIMIT, MAX_LIMIT, PHASE, UNLOADING, HOMING, TORQUE, ACCELERATION = 1, 5, 9, 11, 18, 19, 31, 40, 41
GOAL, SPEED, TORQUE_LIMIT, LOCK = 42, 46, 48, 55
POSITION_NOW, SPEED_NOW, LOAD_NOW, VOLTAGE_NOW, STATUS, MOVING, CURRENT_NOW = 56, 58, 60, 62, 65, 66, 69
MANY_TURNS = 0x10  # bit of the phase register: positions are not folded into one turn


@dataclass(frozen=True)
class Joint:
    """How a servo is built in: its calibration, as lerobot's file has it, and where it stands when it is switched on.

    `home` is a position as read, in counts between `low` and `high`; the shaft itself stands `homing` further.
    """

    name: str
    id: int
    homing: int
    low: int
    high: int
    home: int


class Servo:
    """Registers as the bus reads and writes them.

    `status` are error bits that each answer carries, `stuck` one that never moves.
    """

    def __init__(self, joint: Joint) -> None:
        self.joint = joint
        self.memory = bytearray(256)
        self.memory[0:2] = bytes(FIRMWARE)
        for address, value in POWERED_UP.items():
            self.memory[address] = value
        words = {**POWERED_UP_WORDS, MIN_LIMIT: joint.low, MAX_LIMIT: joint.high, HOMING: signed(joint.homing, 11)}
        for address, value in words.items():
            self._put(address, value)
        self.memory[ID] = joint.id
        self.memory[LOCK] = 1
        self.state = State(float(joint.home + joint.homing))
        self.status = 0
        self.stuck = False
        self._goal = self.state.position
        self._stops = (joint.low + joint.homing - 30.0, joint.high + joint.homing + 30.0)
        self._put(GOAL, joint.home)

    @property
    def id(self) -> int:
        return self.memory[ID]

    @property
    def position(self) -> int:
        """In counts, as read: from the homing offset, folded into one turn unless told otherwise."""
        counts = round(self.state.position) - self._homing
        return counts if self.memory[PHASE] & MANY_TURNS else counts % COUNTS

    def lose_power(self) -> None:
        """When it comes back it has no torque, and its EEPROM is locked."""
        self.memory[TORQUE], self.memory[LOCK] = 0, 1

    @property
    def powered(self) -> bool:
        """Whether it holds its place: torque is on, and no error that makes it let go."""
        return bool(self.memory[TORQUE]) and not self.status & self.memory[UNLOADING]

    def advance(self, dt_s: float) -> Self:
        """Let time pass."""
        self.state = advance(self.state, self._drive(), dt_s)
        return self

    def place(self, position: int) -> None:
        """Somebody turns the joint by hand; it moves back when its torque is on."""
        low, high = self._stops
        self.state = State(min(max(float(position + self._homing), low), high))

    def read(self, address: int, count: int) -> bytes:
        """Registers from `address` on, zero beyond the last."""
        self._show()
        return bytes(self.memory[address : address + count]).ljust(count, b"\0")

    def write(self, address: int, data: bytes) -> None:
        """Registers from `address` on; what is read-only, and the EEPROM while it is locked, stays as it is."""
        had_torque, locked = self.memory[TORQUE], bool(self.memory[LOCK])
        for at, value in enumerate(data, address):
            if at < len(self.memory) and at not in READ_ONLY and not (locked and at < EEPROM_END):
                self.memory[at] = value
        written = range(address, address + len(data))
        if GOAL in written and self.memory[TORQUE]:
            self._goal = self._reachable(unsigned(self._word(GOAL), 15))
        elif TORQUE in written and self.memory[TORQUE] and not had_torque:  # it holds the place where it is
            self._put(GOAL, signed(self.position, 15))
            self._goal = self.state.position

    def _drive(self) -> Drive:
        speed, acceleration = abs(unsigned(self._word(SPEED), 15)), self.memory[ACCELERATION]
        return Drive(
            goal=self._goal,
            powered=self.powered,
            stuck=self.stuck,
            max_speed=min(speed, MAX_SPEED) or MAX_SPEED,
            acceleration=(acceleration or FASTEST) * ACCELERATION_UNIT,
            torque_limit=self._word(TORQUE_LIMIT),
            stops=self._stops,
        )

    def _reachable(self, goal: int) -> float:
        """Where the shaft goes for a goal: between the limits, which are none when both are 0."""
        low, high = self._word(MIN_LIMIT), self._word(MAX_LIMIT)
        return float((min(max(goal, low), high) if low < high else goal) + self._homing)

    def _show(self) -> None:
        """What it measures, into its registers."""
        moving = self.state.speed != 0.0
        self._put(POSITION_NOW, signed(self.position, 15))
        self._put(SPEED_NOW, signed(round(self.state.speed), 15))
        self._put(LOAD_NOW, signed(round(self.state.load), 10))
        self._put(CURRENT_NOW, signed(round(self.state.load * CURRENT_PER_LOAD), 15))
        self.memory[STATUS], self.memory[MOVING] = self.status, moving
        self.memory[VOLTAGE_NOW] = 45 if self.status & 1 else 74

    @property
    def _homing(self) -> int:
        return unsigned(self._word(HOMING), 11)

    def _word(self, address: int) -> int:
        return int.from_bytes(self.memory[address : address + 2], "little")

    def _put(self, address: int, value: int) -> None:
        self.memory[address : address + 2] = value.to_bytes(2, "little")


def signed(value: int, bit: int) -> int:
    """A number as the servo writes it: `bit` is set when it is negative, the rest is its size."""
    size = min(abs(value), (1 << bit) - 1)
    return size | (1 << bit if value < 0 else 0)


def unsigned(word: int, bit: int) -> int:
    """A number that the servo has written."""
    size = word & ((1 << bit) - 1)
    return -size if word >> bit & 1 else size
