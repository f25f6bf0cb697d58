"""Registers of one servo and of the bus. No clock, no terminal."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators import so101_packets as wire
from emulators.errors import FaultError
from emulators.so101 import JOINTS
from emulators.so101_bus import Bus
from emulators.so101_faults import FAULTS, Wish, parse
from emulators.so101_packets import Instruction
from emulators.so101_servo import Joint, Servo, signed, unsigned

FUZZ = settings(max_examples=100, deadline=None, database=None)

PAN = Joint("shoulder_pan", 1, homing=-112, low=794, high=3297, home=2046)
LATER_S = 10.0


@pytest.fixture
def servo() -> Servo:
    made = Servo(PAN)
    made.write(40, b"\1")
    return made


def word(servo: Servo, address: int, bit: int = 15) -> int:
    return unsigned(int.from_bytes(servo.read(address, 2), "little"), bit)


def go(servo: Servo, goal: int) -> None:
    servo.write(42, signed(goal, 15).to_bytes(2, "little"))


@FUZZ
@given(st.integers(-2047, 2047))
def test_a_sign_is_a_bit_of_its_own(value: int) -> None:
    assert unsigned(signed(value, 11), 11) == value
    assert signed(-5, 11) == 0x805


def test_it_is_what_it_says(servo: Servo) -> None:
    assert int.from_bytes(servo.read(3, 2), "little") == 777
    assert (word(servo, 9), word(servo, 11), word(servo, 31, 11)) == (794, 3297, -112)
    assert word(servo, 56) == 2046
    assert servo.read(250, 10) == bytes(10)


def test_it_goes_where_it_is_told_and_says_so(servo: Servo) -> None:
    go(servo, 3000)
    servo.advance(0.1)
    assert 2046 < word(servo, 56) < 3000 and word(servo, 58) > 0 and word(servo, 60, 10) > 0 and servo.read(66, 1) == b"\1"
    servo.advance(LATER_S)
    assert (word(servo, 56), word(servo, 58), servo.read(66, 1)) == (3000, 0, b"\0")


def test_speed_and_acceleration_are_registers(servo: Servo) -> None:
    servo.write(46, (100).to_bytes(2, "little"))
    servo.write(41, b"\xfe")
    go(servo, 3000)
    servo.advance(1.0)
    assert word(servo, 58) == 100 and 2136 <= word(servo, 56) <= 2146
    servo.write(41, b"\1")  # 100 counts/s^2: a second to rest
    go(servo, 2000)
    servo.advance(0.5)
    assert word(servo, 58) == 50


@pytest.mark.parametrize(("goal", "end"), [(0, 794), (4095, 3297), (-300, 794)])
def test_it_stays_within_its_limits(servo: Servo, goal: int, end: int) -> None:
    go(servo, goal)
    assert servo.advance(LATER_S).position == end


def test_limits_and_homing_are_locked_until_unlocked(servo: Servo) -> None:
    servo.write(9, (1500).to_bytes(2, "little"))
    assert word(servo, 9) == 794
    servo.write(55, b"\0")
    servo.write(9, (1500).to_bytes(2, "little"))
    go(servo, 1000)
    assert servo.advance(LATER_S).position == 1500


def test_a_homing_offset_shifts_what_is_read_and_not_the_arm(servo: Servo) -> None:
    servo.write(55, b"\0")
    servo.write(31, signed(-12, 11).to_bytes(2, "little"))
    assert servo.advance(LATER_S).position == 1946
    servo.write(31, signed(2000, 11).to_bytes(2, "little"))
    assert servo.position == 2046 - 112 - 2000
    servo.write(18, b"\x0c")  # as lerobot does: positions are of one turn
    assert servo.position == 2046 - 112 - 2000 + 4096


def test_measurements_cannot_be_written(servo: Servo) -> None:
    servo.write(56, b"\0\0\1\1\2\2")
    servo.write(3, b"\0\0")
    assert (word(servo, 56), word(servo, 58), word(servo, 3)) == (2046, 0, 777)


def test_without_torque_it_does_not_move_and_with_torque_it_holds(servo: Servo) -> None:
    servo.write(40, b"\0")
    go(servo, 3000)
    assert servo.advance(LATER_S).position == 2046
    servo.place(1800)  # by hand
    servo.write(40, b"\1")
    assert servo.advance(LATER_S).position == 1800 and word(servo, 42) == 1800


def test_the_joint_ends_a_little_beyond_its_range(servo: Servo) -> None:
    servo.write(55, b"\0")
    servo.write(9, bytes(4))  # no limits
    go(servo, 4000)
    servo.advance(LATER_S).advance(LATER_S)
    assert servo.position == 3297 + 30 and word(servo, 60, 10) == 1000


# the bus


@pytest.fixture
def bus() -> Bus:
    made = Bus(JOINTS)
    made.advance(0.0)
    return made


def said(bus: Bus, servo: int, code: int, *parameters: int) -> list[bytes]:
    return [answer for _, answer in bus.handle(Instruction(servo, code, bytes(parameters)))]


def test_all_answer_a_broadcast_ping_and_nothing_else_that_is_for_all(bus: Bus) -> None:
    assert said(bus, wire.BROADCAST, wire.PING) == [wire.packet(number, 0) for number in range(1, 7)]
    assert said(bus, wire.BROADCAST, wire.WRITE, 40, 1) == []
    assert all(servo.read(40, 1) == b"\1" for servo in bus.servos)


def test_a_sync_read_is_answered_in_the_order_asked_and_a_sync_write_not_at_all(bus: Bus) -> None:
    answers = said(bus, wire.BROADCAST, wire.SYNC_READ, 5, 1, 4, 2, 9, 6)
    assert answers == [wire.packet(number, 0, bytes([number])) for number in (4, 2, 6)]
    assert said(bus, wire.BROADCAST, wire.SYNC_WRITE, 46, 2, 1, 0x10, 0x01, 6, 0x20, 0x02) == []
    assert bus.servo(1).read(46, 2) == b"\x10\x01" and bus.servo("gripper").read(46, 2) == b"\x20\x02"


def test_a_delayed_write_waits_for_its_word(bus: Bus) -> None:
    assert said(bus, 1, wire.REG_WRITE, 40, 1) == [wire.packet(1, 0)]
    assert bus.servo(1).read(40, 1) == b"\0"
    said(bus, wire.BROADCAST, wire.ACTION)
    assert bus.servo(1).read(40, 1) == b"\1"


def test_a_servo_can_be_given_another_number(bus: Bus) -> None:
    said(bus, 3, wire.WRITE, 55, 0)
    assert said(bus, 3, wire.WRITE, 5, 9) == [wire.packet(3, 0)]
    assert said(bus, 3, wire.PING) == [] and said(bus, 9, wire.PING) == [wire.packet(9, 0)]


@FUZZ
@given(st.integers(0, 254), st.integers(0, 255), st.binary(max_size=12))
def test_no_instruction_breaks_it(servo: int, code: int, parameters: bytes) -> None:
    bus = Bus(JOINTS)
    for _ in range(2):
        bus.advance(0.0)
        for _, answer in bus.handle(Instruction(servo, code, parameters)):
            assert answer.startswith(wire.HEADER)
    assert set(bus.positions()) == {joint.name for joint in JOINTS}


FAULTY: dict[str, Callable[[bytes], bool]] = {
    "no-answer": lambda answer: not answer,
    "bad-checksum": lambda answer: answer[-1] == wire.packet(3, 0)[-1] ^ 0xFF,
    "wrong-id": lambda answer: answer == wire.packet(4, 0),
    "overload": lambda answer: answer == wire.packet(3, wire.OVERLOAD),
    "voltage": lambda answer: answer == wire.packet(3, wire.VOLTAGE),
    "missing": lambda answer: not answer,
}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_of_one_servo_and_ends(bus: Bus, name: str) -> None:
    bus.faults.add(name, [3], None)
    bus.advance(0.1)
    for _ in range(3):
        assert FAULTY[name](b"".join(said(bus, 3, wire.PING)))
        assert said(bus, 2, wire.PING) == [wire.packet(2, 0)]
    bus.faults.clear()
    bus.advance(0.2)
    assert said(bus, 3, wire.PING) == [wire.packet(3, 0)]


@pytest.mark.parametrize("name", ["no-answer", "overload", "wrong-id"])
def test_a_fault_can_be_for_so_many_answers(bus: Bus, name: str) -> None:
    bus.faults.add(name, [3], 2)
    seen = []
    for at in range(4):
        bus.advance(at / 10)
        seen.append(said(bus, 3, wire.PING) == [wire.packet(3, 0)])
    assert seen == [False, False, True, True]


def test_who_is_overloaded_lets_go_and_who_lost_power_stays_limp(bus: Bus) -> None:
    said(bus, wire.BROADCAST, wire.WRITE, 40, 1)
    bus.faults.add("overload", [1], None)
    bus.faults.add("missing", [2], None)
    bus.faults.add("stuck", [3], None)
    bus.advance(1.0)
    start = bus.positions()
    for number in (1, 3, 4):
        said(bus, number, wire.WRITE, 42, *(2600).to_bytes(2, "little"))
    bus.advance(10.0)
    moved = {name for name, value in bus.positions().items() if value != start[name]}
    assert moved == {"wrist_flex"}
    assert unsigned(int.from_bytes(bus.servo(3).read(60, 2), "little"), 10) == 1000  # it pushes
    bus.faults.clear()
    bus.advance(20.0)
    bus.advance(30.0)
    assert bus.positions()["shoulder_pan"] == 2600 and bus.positions()["elbow_flex"] == 2600
    assert bus.servo(2).read(40, 1) == b"\0"


def test_a_typed_line_is_a_fault() -> None:
    assert parse("no-answer 3 x5\n") == Wish("no-answer", motor=3, packets=5)
    assert parse("overload gripper") == Wish("overload", motor="gripper")
    assert parse("camera-gone front") == Wish("camera-gone", camera="front")
    assert {parse(name).name for name in FAULTS} == set(FAULTS)


@pytest.mark.parametrize("line", ["sulk", "unplug 3", "overload 1 2", "heal x2", "camera-gone a b", "slow 1 x0", "slow 1 2 x3"])
def test_a_line_that_is_none_is_told_why(line: str) -> None:
    with pytest.raises(FaultError, match=r"there is no fault|: write "):
        parse(line)
