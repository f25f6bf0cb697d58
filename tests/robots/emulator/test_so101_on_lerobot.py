"""The emulated arm, as lerobot's own classes see it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulators.so101 import SO101Emulator

pytest.importorskip("lerobot", reason="needs the extra so101")
from lerobot.robots.so_follower import SO101Follower, SOFollowerRobotConfig

ARRIVED = 0.1  # lerobot truncates to whole counts


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
    if made.is_connected:
        made.disconnect()


def follower(arm: SO101Emulator) -> SO101Follower:
    return SO101Follower(SOFollowerRobotConfig(port=arm.port, id=arm.id, calibration_dir=arm.calibration_dir, use_degrees=False))


def test_it_is_calibrated_as_its_file_says(arm: SO101Emulator, robot: SO101Follower) -> None:
    assert robot.is_calibrated
    assert (Path(arm.calibration_dir) / f"{arm.id}.json").exists()
    assert {name: vars(one) for name, one in robot.bus.read_calibration().items()} == arm.calibration()


def test_it_moves_to_where_it_is_sent(robot: SO101Follower, wait: Callable[..., None]) -> None:
    goal = {name: -20.0 if name != "gripper.pos" else 60.0 for name in robot.action_features}
    robot.send_action(goal)
    wait(lambda: all(abs(robot.get_observation()[name] - value) <= ARRIVED for name, value in goal.items()), "it arrives")
