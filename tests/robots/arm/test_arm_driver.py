"""The driver of any LeRobot robot, on an arm of wood that is found as LeRobot finds plugins."""

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from nodes.robot.arm.driver import LeRobotArm
from nodes.robot.config import RobotConfig
from nodes.robot.drivers import make_driver
from nodes.robot.interface import RobotError, check_action, check_observation

Make = Callable[..., LeRobotArm]


def robot(arm: LeRobotArm) -> Any:
    return arm.link.robot


def test_a_plugin_of_lerobot_is_driven_by_its_type_name(wooden: Make) -> None:
    arm = wooden()
    seen = arm.observe()
    assert check_observation(seen) == ""
    assert set(seen.images) == {"eye"} and seen.depth["eye_depth"].shape == (4, 6)
    assert arm.state_names == ["base.pos", "tip.pos"]
    np.testing.assert_array_equal(seen.state, np.array([0, 5], np.float32))
    arm.close()
    assert not robot(arm).connected


def test_nothing_moves_before_the_first_action(wooden: Make) -> None:
    assert robot(wooden()).sent == [{"base.pos": 0.0, "tip.pos": 5.0}], "it is told to stand where it is"


def test_an_action_moves_its_joint_and_holds_the_others(wooden: Make) -> None:
    arm = wooden(joint=["base", "tip"])
    assert arm.action_space.choices == [
        {"base": 0.0, "tip": 0.0}, {"base": 10.0, "tip": 0.0}, {"base": -10.0, "tip": 0.0},
        {"base": 0.0, "tip": 10.0}, {"base": 0.0, "tip": -10.0},
    ]  # fmt: skip
    assert arm.execute(arm.action_space.choices[2])
    assert arm.positions() == {"base.pos": -10.0, "tip.pos": 5.0}


def test_set_points_stay_within_the_limits_and_are_computed_once(wooden: Make) -> None:
    arm = wooden(delta=30.0)
    _, up, down = arm.action_space.choices
    assert [arm.execute(action) for action in (up, up, up, down)] == [True] * 4
    assert [sent["base.pos"] for sent in robot(arm).sent[1:]] == [30.0, 40.0, 40.0, 10.0]


def test_goals_are_written_at_once_in_continuous_mode(wooden: Make) -> None:
    arm = wooden(
        mode="continuous", joint=None, limits={"base": {"min": -40, "max": 40}, "tip": {"min": 0, "max": 90}}, action_duration_s=60.0
    )
    assert arm.action_space.names == ["base.pos", "tip.pos"]
    assert (arm.action_space.low, arm.action_space.high) == ([-40.0, 0.0], [40.0, 90.0])
    assert arm.execute({"base.pos": 12.0, "tip.pos": 34.0})
    arm.observe()
    assert arm.safe_action == {"base.pos": 12.0, "tip.pos": 34.0}
    assert check_action(arm.safe_action, arm.action_space) == ""


def test_an_arm_outside_its_limits_is_refused_where_standing_still_would_be_a_move(wooden: Make) -> None:
    with pytest.raises(RobotError, match=r"tip stands at 5\.0, outside \[30, 90\]: move it inside by hand"):
        wooden(mode="continuous", joint=None, limits={"base": {"min": -40, "max": 40}, "tip": {"min": 30, "max": 90}})
    arm = wooden(joint=["tip"], limits={"base": {"min": -40, "max": 40}, "tip": {"min": 30, "max": 90}})
    assert arm.execute({"tip": -10.0}) and arm.positions()["tip.pos"] == 5.0, "nothing leads further out"


def test_stop_ends_an_action_and_holds_where_it_is(wooden: Make, wait: Any) -> None:
    arm = wooden(action_duration_s=60.0)
    done: list[bool] = []
    thread = threading.Thread(target=lambda: done.append(arm.execute({"base": 10.0})))
    thread.start()
    wait(lambda: robot(arm).at["base.pos"] == 10.0, "the set-point")
    robot(arm).at["base.pos"] = 4.0  # on its way
    arm.stop()
    thread.join(30)
    assert done == [False]
    assert robot(arm).sent[-1]["base.pos"] == 4.0
    assert not arm.move({"base.pos": 9.0}), "nothing moves until it may again"
    arm.ready()
    assert arm.move({"base.pos": 9.0})


def test_a_hiccup_is_made_good_and_counted(wooden: Make) -> None:
    arm = wooden()
    robot(arm).fails = [ConnectionError("a packet"), RuntimeError("another")]
    assert arm.observe().state is not None
    assert arm.counts() == {"hiccups": 2}


def test_what_does_not_pass_is_said_in_one_line(wooden: Make) -> None:
    arm = wooden()
    robot(arm).fails = [ConnectionError("Failed\n to read")] * 3
    with pytest.raises(RobotError, match=r"^Failed to read$"):
        arm.observe()
    robot(arm).connected = False
    with pytest.raises(RobotError, match="not connected"):
        arm.observe()
    arm.stop()  # it is known to be lost


def test_an_arm_that_cannot_be_stopped_says_so(wooden: Make) -> None:
    arm = wooden()
    robot(arm).connected = False
    with pytest.raises(RobotError, match="not connected"):
        arm.stop()


def test_between_episodes_the_secondary_joint_goes_to_a_new_place_that_is_told(wooden: Make) -> None:
    told = []
    for _ in range(2):
        arm = wooden(seed=3, secondary={"joint": "tip", "delta": 10})
        assert arm.episode_values() == {}, "at first it stays where it is"
        for _ in range(4):
            arm.reset()
            told.append(arm.episode_values()["secondary_target"])
            assert arm.positions()["tip.pos"] == told[-1]
            assert arm.execute({"base": 10.0}) and arm.positions()["tip.pos"] == told[-1]
    assert told[:4] == told[4:], "drawn from the seed"
    assert {abs(after - before) for before, after in zip([5.0, *told[:3]], told[:4], strict=True)} == {10.0}


def test_a_velocity_holds_still_at_nothing(wooden: Make) -> None:
    arm = wooden(
        robot={"velocity": True},
        limits={"base": {"min": -40, "max": 40}, "tip": {"min": 0, "max": 9}, "base.vel": {"min": -1, "max": 1}},
    )
    arm.stop()
    assert robot(arm).sent[-1] == {"base.pos": 0.0, "tip.pos": 5.0, "base.vel": 0.0}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"type": "woden"}, "LeRobot knows no robot 'woden'; did you mean 'wooden'?"),
        ({"robot": {"colour": "red"}}, "LeRobot refuses the config of wooden: The fields `colour` are not valid for WoodenConfig"),
        (
            {"robot": {"calibrated": False}},
            "None Wooden is not calibrated: there is no .*None.json; run lerobot-calibrate --robot.type=wooden",
        ),
        ({"limits": {}}, "nobody tells how far base, tip may go: give limits"),
        ({"limits": {"bse": {"min": 0, "max": 1}}}, "the arm has no joint 'bse'; did you mean 'base'?"),
        ({"joint": "elbow"}, "the arm has no joint 'elbow'; there are base, tip"),
        ({"delta": -1}, "delta is -1"),
        ({"mode": "both"}, "Invalid enum value 'both'"),
        ({"secondary": {"joint": "base"}}, "secondary: base is moved by actions already"),
        ({"timing": "nowhere.json"}, "timing: nowhere.json cannot be read"),
        ({"port": "a", "robot": {"port": "b"}}, "port is given twice"),
    ],
)
def test_what_is_wrong_with_options_is_one_line(wooden: Make, options: dict[str, Any], line: str) -> None:
    with pytest.raises((RobotError, ValueError, msgspec.ValidationError), match=line) as caught:
        wooden(**options)
    assert "\n" not in str(caught.value)


def test_the_drivers_have_names() -> None:
    with pytest.raises(RobotError, match="driver 'so101': the arm's port is missing: give port=/dev/ttyACM0"):
        make_driver("so101", {}, 0)
    with pytest.raises(RobotError, match="driver 'lerobot': driver lerobot needs the type of a robot"):
        make_driver("lerobot", {"port": "x"}, 0)


def test_what_is_missing_is_told_before_anything_is_started() -> None:
    assert "the arm's port is missing" in RobotConfig(driver="so101").problem()
    assert "the arm has no camera" in RobotConfig(driver="so101", options={"port": "x"}).problem()
    assert "`cheese`" in RobotConfig(driver="so101", options={"cheese": 1}).problem()
    assert RobotConfig(driver="so101", options={"port": "x", "cameras": {"eye": {"type": "zmq"}}}).problem() == ""
    assert RobotConfig(driver="lerobot", options={"type": "wooden"}).problem() == ""
