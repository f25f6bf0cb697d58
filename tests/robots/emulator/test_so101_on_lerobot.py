"""The emulated arm, as lerobot's own classes see it."""

import re
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emulators.errors import FaultError
from emulators.so101 import SO101Emulator

pytest.importorskip("lerobot", reason="needs the extra so101")
from lerobot.motors import Motor, MotorNormMode
from lerobot.motors.feetech import FeetechMotorsBus, feetech
from lerobot.robots.so_follower import SO101Follower, SOFollowerRobotConfig

ARRIVED = 0.1  # lerobot truncates to whole counts
PATIENCE_MS = 2000.0
Wait = Callable[..., object]
own_timeout = feetech.patch_setPacketTimeout


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """lerobot waits 50 ms for an answer; a machine that is busy with other things may take longer."""

    def timeout(self: Any, length: int) -> None:
        own_timeout(self, length)
        self.packet_timeout += PATIENCE_MS

    monkeypatch.setattr(feetech, "patch_setPacketTimeout", timeout)


@contextmanager
def hurried(robot: SO101Follower) -> Iterator[None]:
    """As impatient as lerobot is, where an answer is not to come."""
    handler = robot.bus.port_handler
    patient, handler.setPacketTimeout = handler.setPacketTimeout, own_timeout.__get__(handler)
    yield
    handler.setPacketTimeout = patient


@pytest.fixture
def arm() -> Iterator[SO101Emulator]:
    with SO101Emulator() as made:
        yield made


@pytest.fixture
def robot(arm: SO101Emulator) -> Iterator[SO101Follower]:
    made = follower(arm)
    made.connect(calibrate=False)
    yield made
    arm.heal()
    close(made)


def follower(arm: SO101Emulator) -> SO101Follower:
    return SO101Follower(SOFollowerRobotConfig(port=arm.port, id=arm.id, calibration_dir=arm.calibration_dir, use_degrees=False))


def close(robot: SO101Follower) -> None:
    with suppress(OSError, termios.error):
        robot.disconnect()
    robot.bus.port_handler.closePort()  # also when the rest could not be done


def at(robot: SO101Follower, **goal: float) -> bool:
    seen = robot.get_observation()
    return all(abs(seen[f"{name}.pos"] - value) <= ARRIVED for name, value in goal.items())


def send(robot: SO101Follower, **goal: float) -> None:
    robot.send_action({f"{name}.pos": value for name, value in goal.items()})


def test_it_is_calibrated_as_its_file_says(arm: SO101Emulator, robot: SO101Follower) -> None:
    assert robot.is_calibrated
    assert robot.calibration_fpath.parent == arm.calibration_dir and robot.calibration_fpath.exists()
    assert {name: vars(one) for name, one in robot.bus.read_calibration().items()} == arm.calibration()


def test_it_moves_to_where_it_is_sent(arm: SO101Emulator, robot: SO101Follower, wait: Wait) -> None:
    goal = {name: -20.0 if name != "gripper" else 60.0 for name in arm.calibration()}
    send(robot, **goal)
    wait(lambda: at(robot, **goal), "it arrives")
    wait(lambda: not any(robot.bus.sync_read("Moving").values()), "it rests")
    raw = robot.bus.sync_read("Present_Position", normalize=False)
    assert raw == arm.positions()


def test_it_is_configured_and_says_what_it_measures(robot: SO101Follower) -> None:
    assert robot.bus.read("P_Coefficient", "elbow_flex") == robot.config.position_p_coefficient
    assert robot.bus.read("Max_Torque_Limit", "gripper") == 500
    assert robot.bus.read("Phase", "gripper") == 0x0C
    assert robot.bus.read("Torque_Enable", "gripper") == 1
    assert robot.bus.read("Present_Voltage", "gripper") == 74
    assert robot.bus.read("Present_Temperature", "gripper") == 28


def test_limits_hold(robot: SO101Follower, wait: Wait) -> None:
    low = robot.bus.calibration["elbow_flex"].range_min
    robot.bus.sync_write("Goal_Position", {"elbow_flex": low - 500}, normalize=False)
    wait(lambda: robot.bus.read("Present_Position", "elbow_flex", normalize=False) == low, "it stops at its limit")


def test_torque_off_stops_it(arm: SO101Emulator, robot: SO101Follower, wait: Wait) -> None:
    robot.bus.write("Goal_Velocity", "shoulder_pan", 100)
    send(robot, shoulder_pan=90.0)
    wait(lambda: robot.bus.read("Present_Velocity", "shoulder_pan") == 100, "it moves")
    robot.bus.disable_torque()
    stood = arm.positions()
    assert stood["shoulder_pan"] < 3000 and robot.bus.read("Present_Velocity", "shoulder_pan") == 0
    send(robot, shoulder_pan=-90.0)
    assert robot.bus.sync_read("Present_Position", normalize=False) == stood
    robot.bus.enable_torque()
    assert arm.positions() == stood


def test_somebody_turns_it_while_it_is_calibrated(arm: SO101Emulator, robot: SO101Follower) -> None:
    robot.bus.disable_torque()
    offsets = robot.bus.set_half_turn_homings()
    assert set(robot.bus.sync_read("Present_Position", normalize=False).values()) == {2047}
    assert offsets["shoulder_pan"] == 2046 + arm.calibration()["shoulder_pan"]["homing_offset"] - 2047
    arm.place("shoulder_pan", 2500)
    assert robot.bus.read("Present_Position", "shoulder_pan", normalize=False) == 2500


def test_it_is_found_by_lerobot_s_own_search(arm: SO101Emulator) -> None:
    bus = FeetechMotorsBus(arm.port, {})
    bus.connect(handshake=False)
    bus.set_baudrate(1_000_000)
    assert bus.broadcast_ping() == dict.fromkeys(range(1, 7), 777)
    bus.port_handler.closePort()


@pytest.mark.parametrize(
    ("fault", "word"),
    [("no-answer", "no status"), ("missing", "no status"), ("slow", "no status"), ("wrong-id", "no status"), ("bad-checksum", "Incorrect")],
)
def test_a_servo_that_cannot_be_heard_fails_reads_and_writes(
    arm: SO101Emulator, robot: SO101Follower, wait: Wait, fault: str, word: str
) -> None:
    arm.fault(fault, motor="elbow_flex")
    with pytest.raises(ConnectionError, match=word), hurried(robot):
        robot.bus.write("Torque_Enable", "elbow_flex", 1)
    arm.heal()
    assert wait(lambda: heard(robot), "it is heard again")
    arm.fault(fault, motor=3)
    with pytest.raises(ConnectionError, match=f"Failed to sync read.*{word}"), hurried(robot):
        robot.get_observation()
    arm.heal()
    assert wait(lambda: heard(robot), "it is heard again")
    robot.bus.enable_torque(num_retry=3)  # who was without power has none
    send(robot, elbow_flex=0.0)
    wait(lambda: at(robot, elbow_flex=0.0), "it moves again")


def heard(robot: SO101Follower) -> bool:
    with suppress(ConnectionError):
        return bool(robot.get_observation())
    return False


@pytest.mark.parametrize(("fault", "word"), [("overload", "Overload"), ("voltage", "voltage")])
def test_an_error_of_a_servo_is_told_when_it_is_asked_itself(arm: SO101Emulator, robot: SO101Follower, fault: str, word: str) -> None:
    arm.fault(fault, motor="gripper")
    with pytest.raises(RuntimeError, match=word):
        robot.bus.read("Present_Load", "gripper")
    robot.get_observation()  # lerobot does not look at the error bits of a sync read
    assert robot.bus.sync_read("Status")["gripper"] in (32, 1)
    arm.heal()
    assert robot.bus.read("Present_Load", "gripper") == 0


def test_a_servo_that_is_held_pushes_and_stays(arm: SO101Emulator, robot: SO101Follower, wait: Wait) -> None:
    arm.fault("stuck", motor=1)
    before = arm.positions()["shoulder_pan"]
    send(robot, shoulder_pan=80.0, elbow_flex=0.0)
    wait(lambda: robot.bus.read("Present_Load", "shoulder_pan") == 1000, "it pushes with all it has")
    wait(lambda: at(robot, elbow_flex=0.0), "the others move")
    assert arm.positions()["shoulder_pan"] == before
    arm.heal()
    wait(lambda: at(robot, shoulder_pan=80.0), "it goes on")


def test_a_fault_for_so_many_answers_is_outlived_by_retries(arm: SO101Emulator, robot: SO101Follower) -> None:
    arm.fault("bad-checksum", motor=1, packets=2)
    with pytest.raises(ConnectionError):
        robot.bus.sync_read("Present_Position", num_retry=1)
    arm.fault("bad-checksum", motor=1, packets=2)
    assert robot.bus.sync_read("Present_Position", num_retry=2)


@pytest.mark.parametrize(("fault", "word"), [("missing", "Missing motor IDs:\n  - 4"), ("mixed-firmware", "different firmware versions")])
def test_an_arm_that_is_not_whole_does_not_connect(arm: SO101Emulator, fault: str, word: str) -> None:
    arm.fault(fault, motor=4)
    robot = follower(arm)
    with pytest.raises(RuntimeError, match=word), hurried(robot):
        robot.connect(calibrate=False)
    robot.bus.port_handler.closePort()
    arm.heal()
    robot = follower(arm)
    robot.connect(calibrate=False)
    close(robot)


def test_a_cable_that_is_pulled_and_put_back(arm: SO101Emulator, robot: SO101Follower, wait: Wait) -> None:
    send(robot, shoulder_pan=40.0)
    arm.fault("unplug")
    with pytest.raises(termios.error):  # what pyserial says of a device that is gone; lerobot lets it through
        robot.get_observation()
    close(robot)
    with pytest.raises(ConnectionError, match="Could not connect"):
        follower(arm).connect(calibrate=False)
    arm.fault("plug")
    again = follower(arm)
    again.connect(calibrate=False)
    wait(lambda: at(again, shoulder_pan=40.0) or send(again, shoulder_pan=40.0), "it moves again, under the same path")
    close(again)


def test_a_servo_is_given_its_number_by_lerobot_s_own_set_up(arm: SO101Emulator) -> None:
    for motor in (2, 3, 4, 5, 6):
        arm.fault("missing", motor)
    bus = FeetechMotorsBus(arm.port, {"gripper": Motor(9, "sts3215", MotorNormMode.RANGE_0_100)})
    bus.setup_motor("gripper", initial_baudrate=1_000_000, initial_id=1)
    assert bus.ping("gripper") == 777
    bus.port_handler.closePort()


def test_the_beginning_of_a_long_packet_holds_it_up_for_one_question(robot: SO101Follower) -> None:
    robot.bus.port_handler.ser.write(b"\xff\xff\x01\xc8")
    with hurried(robot):
        assert len(robot.bus.sync_read("Present_Position", num_retry=4)) == 6


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, database=None)
@given(noise=st.binary(max_size=300))
def test_noise_on_the_wire_is_outlived(robot: SO101Follower, noise: bytes) -> None:
    robot.bus.port_handler.ser.write(noise)
    with hurried(robot):
        assert len(robot.bus.sync_read("Present_Position", num_retry=60)) == 6


def test_the_example_of_the_guide_runs(capsys: pytest.CaptureFixture[str]) -> None:
    guide = Path(__file__).resolve().parents[3] / "docs" / "emulators.md"
    (example,) = re.findall(r"^```python\n(.*?)^```", guide.read_text(), re.DOTALL | re.MULTILINE)
    exec(example, {})
    assert "'shoulder_pan.pos': " in capsys.readouterr().out


def test_what_is_not_there_cannot_fail(arm: SO101Emulator) -> None:
    for wrong in ({"name": "sulk"}, {"name": "stuck", "motor": 7}, {"name": "camera-gone", "camera": "front"}):
        with pytest.raises(FaultError, match="there is no"):
            arm.fault(**wrong)
