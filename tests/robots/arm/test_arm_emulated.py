"""The driver on LeRobot's own SO101Follower and the emulated servos: what goes wrong is one line, and the arm is safe."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from emulators.so101 import SO101Emulator
from nodes.robot.arm.driver import SO101
from nodes.robot.interface import RobotError

Make = Callable[..., SO101]
TORQUE = 40


def torque(emulator: SO101Emulator) -> list[int]:
    return [emulator.registers(motor)[TORQUE] for motor in range(1, 7)]


def look(arm: SO101, times: int) -> None:
    for _ in range(times):
        arm.observe()


def test_an_action_moves_one_joint_by_its_delta(so101: Make, emulator: SO101Emulator, still: Any) -> None:
    before = still()
    arm = so101()
    assert still() == before, "to connect moves nothing"
    assert arm.state_names[0] == "shoulder_pan.pos" and len(arm.state_names) == 6
    at = arm.positions()
    assert arm.execute({"shoulder_pan": 10.0})
    still()
    moved = {name: arm.positions()[name] - at[name] for name in at}
    assert moved.pop("shoulder_pan.pos") == pytest.approx(10.0, abs=0.2)
    assert set(moved.values()) == {0.0}


def test_limits_and_ends_are_kept(so101: Make, still: Any) -> None:
    arm = so101(action_duration_s=0.01, delta=30.0, limits={"shoulder_pan": {"min": -20, "max": 25}})
    for _ in range(2):
        arm.execute({"shoulder_pan": 30.0})
        still()
    assert arm.positions()["shoulder_pan.pos"] == pytest.approx(25.0, abs=0.2)
    for _ in range(2):
        arm.execute({"shoulder_pan": -30.0})
        still()
    assert arm.positions()["shoulder_pan.pos"] == pytest.approx(-20.0, abs=0.2)


def test_goals_are_written_at_once_when_continuous(so101: Make, still: Any) -> None:
    arm = so101(mode="continuous")
    assert arm.action_space.names == arm.state_names
    assert (arm.action_space.low[-1], arm.action_space.high[-1]) == (0.0, 100.0)
    goal = {**arm.safe_action, "shoulder_pan.pos": 12.0, "gripper.pos": 50.0}
    assert arm.execute(goal)
    still()
    assert arm.positions() == pytest.approx(goal, abs=0.2)


def test_stop_holds_the_arm_on_its_way(so101: Make, emulator: SO101Emulator, still: Any, wait: Any) -> None:
    arm = so101(delta=80.0, action_duration_s=60.0)
    start = emulator.positions()["shoulder_pan"]
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(arm.execute({"shoulder_pan": 80.0})))
    thread.start()
    wait(lambda: abs(emulator.positions()["shoulder_pan"] - start) > 50, "the arm on its way")
    arm.stop()
    thread.join(30)
    assert done == [False]
    held = still()["shoulder_pan"]
    assert abs(held - start) < 800, "80 would have been a thousand counts"
    assert torque(emulator) == [1] * 6


def test_torque_is_off_at_the_end_as_configured(so101: Make, emulator: SO101Emulator) -> None:
    so101().close()
    assert torque(emulator) == [0] * 6
    so101(robot={"disable_torque_on_disconnect": False}).close()
    assert torque(emulator) == [1] * 6


def test_a_bad_packet_is_repeated_and_counted(so101: Make, emulator: SO101Emulator) -> None:
    arm = so101()
    for fault in ("bad-checksum", "no-answer"):
        emulator.fault(fault, motor=3, packets=1)
        arm.observe()
    assert arm.counts() == {"hiccups": 2}


@pytest.mark.parametrize(
    ("fault", "line", "limp"),
    [
        ("no-answer", r"motor 'elbow_flex' \(id 3\) does not answer: are its cables plugged in\?", True),
        ("missing", r"motor 'elbow_flex' \(id 3\) does not answer", True),
        ("bad-checksum", r"motor 'elbow_flex' \(id 3\) tells of a fault: .*Incorrect status packet", True),
        ("overload", r"motor 'elbow_flex' \(id 3\) tells of a fault: .*Overload error", False),
        ("voltage", r"motor 'elbow_flex' \(id 3\) tells of a fault: .*Input voltage error", False),
    ],
)
def test_a_motor_in_trouble_is_named_and_the_others_are_held(
    so101: Make, emulator: SO101Emulator, wait: Any, fault: str, line: str, limp: bool
) -> None:
    arm = so101()
    emulator.fault(fault, motor=3)
    with pytest.raises(RobotError, match=line) as caught:
        look(arm, 6)  # each time another motor is asked how it is
    assert "\n" not in str(caught.value)
    arm.stop()
    if limp:
        wait(lambda: fault == "missing" or torque(emulator)[2] == 0, "it is told to let go, and says nothing")
    others = [on for motor, on in enumerate(torque(emulator), 1) if motor != 3]
    assert others == [1] * 5, "an arm does not fall for one of its motors"
    if limp:
        emulator.heal()
        with pytest.raises(RobotError, match="elbow_flex could not be held, and has no torque any more"):
            arm.observe()
    arm.close()
    assert torque(emulator) == [0] * 6


def test_no_motor_answers(so101: Make, emulator: SO101Emulator, wait: Any) -> None:
    arm = so101()
    emulator.fault("no-answer")
    with pytest.raises(RobotError, match=r"no motor answers on .*port: is the arm's power on\?"):
        arm.observe()
    arm.stop()
    wait(lambda: torque(emulator) == [0] * 6, "no torque where nobody answers")
    emulator.heal()


def test_an_unplugged_port_is_told_and_stop_does_not_hide_it(so101: Make, emulator: SO101Emulator) -> None:
    arm = so101()
    emulator.fault("unplug")
    with pytest.raises(RobotError, match=r"the port .* is gone: .*; is the cable plugged in\?"):
        arm.observe()
    arm.stop()
    arm.close()


def test_an_arm_that_was_never_calibrated_says_what_to_run(options: dict[str, Any], emulator: SO101Emulator, monkeypatch: Any) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it waits for Enter"))
    with pytest.raises(RobotError, match=r"not calibrated: there is no .*other\.json; run lerobot-calibrate --robot\.type=so101_follower "):
        SO101({**options, "id": "other"}, 0)
    assert torque(emulator) == [0] * 6


def test_a_bad_packet_while_it_connects_is_no_end(so101: Make, emulator: SO101Emulator) -> None:
    emulator.fault("bad-checksum", motor=2, packets=1)
    arm = so101()
    assert arm.counts() == {"hiccups": 1} and torque(emulator) == [1] * 6


def test_who_is_missing_from_the_beginning_is_named(options: dict[str, Any], emulator: SO101Emulator) -> None:
    emulator.fault("missing", motor=4)
    with pytest.raises(RobotError, match="wrist_flex"):
        SO101(options, 0)
    with pytest.raises(RobotError, match="no-such-port"):
        SO101({**options, "port": "/dev/no-such-port"}, 0)


def test_two_cameras_as_lerobot_takes_them_one_above_the_other_and_one_is_lost(plugin: None) -> None:
    with SO101Emulator(cameras={"front": "drawn", "side": "drawn"}, size=(96, 64)) as emulator:
        cameras = {name: {**one, "timeout_ms": 500} for name, one in emulator.cameras.items()}
        arm = SO101({**emulator.options(), "cameras": cameras, "stack": "vertical", "size": 48}, 0)
        try:
            assert {name: image.shape for name, image in arm.observe().images.items()} == {"stacked": (96, 48, 3)}
            emulator.fault("camera-gone", camera="side")
            with pytest.raises(RobotError, match=r"camera 'side' is lost: ZMQCamera.* too old"):
                look(arm, 1_000_000)
            arm.stop()
            assert torque(emulator) == [1] * 6, "the arm itself is held"
        finally:
            arm.close()
        assert torque(emulator) == [0] * 6
