"""What keeps an arm safe in the robot node, on the emulated servos: afterwards it stands, and its torque is off at the end."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from emulators.so101 import SO101Emulator
from nodes.robot.config import RobotConfig
from nodes.robot.limits import Limit
from nodes.robot.node import RobotNode
from nodes.runtime import NodeError
from protocol import messages as m
from protocol.control import ControlRequest

PREDICTOR = [("pred", "predictor")]
TORQUE = 40
FAR = 80.0
FAR_COUNTS, SLOW = 1000, 200  # so the far way takes 5 s

Make = Callable[..., RobotNode]


@pytest.fixture
def arm(node: Any, options: dict[str, Any]) -> Callable[..., RobotNode]:
    """A robot node of the emulated arm, on its way."""

    def make(own: dict[str, Any] | None = None, **config: Any) -> RobotNode:
        given = {"delta": FAR, "action_duration_s": 30.0, **(own or {})}
        made: RobotNode = node(RobotNode, RobotConfig(driver="so101", rate_hz=0.0, options={**options, **given}, **config), PREDICTOR)
        made.driver._driver.link.robot.bus.write("Goal_Velocity", "shoulder_pan", SLOW)
        made.go()
        made.tick()
        return made

    return make


@pytest.fixture
def command(message: Callable[..., m.Message]) -> Callable[..., None]:
    """A command for where the robot is."""

    def give(made: Any, action: dict[str, float], good_s: float = 60.0) -> None:
        body = m.Command(action=action, by="test", deadline_mono_ns=made.bus.clock.mono_ns() + int(good_s * 1e9))
        made.on_command(message("command", body, episode=made.progress.episode, step=made.progress.step))

    return give


def pan(emulator: SO101Emulator) -> int:
    return emulator.positions()["shoulder_pan"]


def torque(emulator: SO101Emulator) -> list[int]:
    return [emulator.registers(motor)[TORQUE] for motor in range(1, 7)]


@pytest.fixture
def on_its_way(arm: Make, command: Any, emulator: SO101Emulator, wait: Any) -> Callable[..., tuple[Any, threading.Thread, int]]:
    """A node in the middle of an action that leads far, its thread, and where the joint began."""

    def make(**config: Any) -> tuple[Any, threading.Thread, int]:
        made, start = arm(**config), pan(emulator)
        command(made, {"shoulder_pan": FAR})
        thread = threading.Thread(target=made.tick)
        thread.start()
        wait(lambda: pan(emulator) - start > 50, "the arm is on its way")
        return made, thread, start

    return make


def test_the_stop_key_holds_the_arm_on_its_way(on_its_way: Any, emulator: SO101Emulator, still: Any) -> None:
    made, thread, start = on_its_way()
    made.bus.urgent["halt"](ControlRequest("halt", {}, "a test", lambda _: None))
    thread.join(30)
    held = still()["shoulder_pan"]
    assert held - start < FAR_COUNTS - 100
    made.tick()
    assert still()["shoulder_pan"] == held and torque(emulator) == [1] * 6
    assert [one.body.success for one in made.bus.of("action")] == [False]


def test_an_action_that_takes_too_long_is_stopped(on_its_way: Any, still: Any) -> None:
    made, thread, start = on_its_way(max_action_s=0.5)
    thread.join(30)
    assert still()["shoulder_pan"] - start < FAR_COUNTS - 100
    assert made.watchdog.counts["stuck"] == 1


def test_the_end_holds_the_arm_and_torque_goes_off(on_its_way: Any, emulator: SO101Emulator, still: Any) -> None:
    made, thread, start = on_its_way()
    made.bus.stop_requested = True
    made.watchdog.wake()
    thread.join(30)
    assert still()["shoulder_pan"] - start < FAR_COUNTS - 100
    made.close()
    assert torque(emulator) == [0] * 6


def test_in_silence_the_arm_stands(arm: Make, command: Any, emulator: SO101Emulator, still: Any, wait: Any) -> None:
    made: Any = arm({"mode": "continuous"}, silence_s=0.1)
    start = pan(emulator)
    command(made, {**made.driver.safe_action, "shoulder_pan.pos": FAR})
    wait(lambda: made.tick() is not None and made.watchdog.silent and made._standing, "silence")
    held = still()["shoulder_pan"]
    assert held - start < FAR_COUNTS - 100, "the goal it was told to go to is given up"
    for _ in range(5):
        made.tick()
    assert still()["shoulder_pan"] == held


def test_old_commands_and_those_beyond_the_limits_move_nothing(arm: Make, command: Any, still: Any) -> None:
    made: Any = arm(
        {"mode": "continuous", "limits": {"elbow_flex": {"min": 0, "max": 30}}}, limits={"shoulder_pan.pos": Limit(min=-20, max=20)}
    )
    before, stay = still(), made.driver.safe_action
    command(made, {**stay, "shoulder_pan.pos": 10.0}, good_s=-1.0)
    made.phase = "act"
    command(made, {**stay, "shoulder_pan.pos": 21.0})
    command(made, {**stay, "elbow_flex.pos": 31.0})
    command(made, {"shoulder_pan.pos": 10.0})
    made.tick()
    assert made.gate.refused == {"too_late": 1, "over_limit": 1, "not_an_action": 2}
    assert still() == before


@pytest.mark.parametrize(
    ("fault", "motor", "line"),
    [
        ("no-answer", 3, r"the robot is lost: motor 'elbow_flex' \(id 3\) does not answer"),
        ("overload", 1, r"the robot is lost: motor 'shoulder_pan' \(id 1\) tells of a fault: .*Overload"),
        ("unplug", None, r"the robot is lost: the port .* is gone"),
    ],
)
def test_a_bus_in_trouble_ends_the_node_with_one_line(
    arm: Make, command: Any, emulator: SO101Emulator, still: Any, wait: Any, fault: str, motor: int | None, line: str
) -> None:  # fmt: skip
    made: Any = arm({"mode": "continuous"})
    start = pan(emulator)
    command(made, {**made.driver.safe_action, "shoulder_pan.pos": FAR})
    made.tick()
    wait(lambda: pan(emulator) - start > 50, "the arm is on its way")
    emulator.fault(fault, motor=motor)
    with pytest.raises(NodeError, match=line) as caught:
        look(made)
    assert "\n" not in str(caught.value)
    if fault == "unplug":  # nothing can be said to it any more: it goes where it was told to go, and holds there
        made.close()
        return
    made.close()
    assert still()["shoulder_pan"] - start < FAR_COUNTS - 100
    wait(lambda: torque(emulator) == [0] * 6, "no torque after the end")


def look(made: Any) -> None:
    for _ in range(20):
        made.phase = "observe"
        made.tick()


def test_hiccups_and_the_secondary_joint_are_on_record(arm: Make, emulator: SO101Emulator, still: Any) -> None:
    made: Any = arm({"secondary": {"joint": "elbow_flex", "delta": 5}})
    before = still()["elbow_flex"]
    emulator.fault("bad-checksum", motor=2, packets=1)
    made.do_mark({"mark": "reset"})
    assert abs(abs(still()["elbow_flex"] - before) - 55) < 10
    told = made.bus.of("metrics")[-1]
    assert set(told.body.values) == {"secondary_target"} and told.envelope.episode == 1
    kinds = [(one.kind, getattr(one.body, "mark", "")) for one in made.bus.sent]
    assert kinds[kinds.index(("episode", "start"), 2) + 1] == ("metrics", ""), "right behind the start mark"
    made.close()
    assert made.bus.of("metrics")[-1].body.values["hiccups"] == 1
