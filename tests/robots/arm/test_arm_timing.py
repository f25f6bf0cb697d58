"""How long an action of an arm takes: when a joint has come to rest, and what is measured on the emulated arm."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from emulators.so101 import SO101Emulator
from nodes.robot.arm.driver import SO101
from nodes.robot.arm.moves import between, held, set_points
from nodes.robot.arm.options import Range, arm_options, read_timing
from nodes.robot.arm.settling import Settling
from nodes.robot.arm.timing import duration_s, measure_timing
from nodes.robot.interface import RobotError
from toddle.robot.calibrate import calibrate

Make = Callable[..., SO101]


def fed(start: float, positions: list[float]) -> Settling:
    """Readings 10 ms apart."""
    settling = Settling(start)
    for i, position in enumerate(positions):
        settling.take(i / 100, position)
    return settling


def test_a_joint_departs_and_then_comes_to_rest() -> None:
    way = [0.0, 0.1, 0.4, 1.0, 4.0, 8.0, 9.9, 10.0, 10.1, 10.0, 10.0, 10.0]
    settling = fed(0.0, way)
    assert settling.departed_s == 0.03
    assert settling.settled_s == 0.10, "the first five that are within half a unit end here"
    assert settling.trouble == "" and settling.last == 10.0, "what comes after it counts no more"


def test_a_joint_that_never_moves_or_never_rests_has_no_time() -> None:
    assert fed(3.0, [3.0, 3.4, 2.6, 3.0] * 200).trouble == "never moved"
    swinging = fed(0.0, [0.0, 5.0, 6.0] * 200)
    assert swinging.trouble == "never came to rest" and swinging.settled_s is None


def test_an_action_is_given_a_fifth_more_than_the_slowest_move() -> None:
    assert duration_s([0.31, 0.4, 0.333, 0.2]) == 0.48
    assert duration_s([0.111]) == 0.13


def test_what_is_near_its_goal_keeps_it_and_what_is_far_stays_where_it_is() -> None:
    measured, goals, wide = {"a.pos": 8.5, "b.pos": 8.5}, {"a.pos": 10.0, "b.pos": 40.0}, {"a.pos": Range(min=-50, max=50)}
    assert held(measured, goals) == {"a.pos": 10.0, "b.pos": 8.5}, "a load pulls a little: to hold that would sink further each time"
    assert set_points({"a": 0.0}, measured, goals, wide) == {"a.pos": 10.0}
    assert set_points({"a": -5.0}, measured, goals, wide) == {"a.pos": 3.5}, "from what is measured"
    outside = {"a.pos": Range(min=-50, max=4)}
    assert set_points({"a": 5.0}, measured, {"a.pos": 8.0}, outside) == {"a.pos": 8.0}, "no further out"
    assert set_points({"a": -5.0}, measured, {"a.pos": 8.0}, outside) == {"a.pos": 3.5}


def test_a_walk_goes_straight() -> None:
    poses = between({"a.pos": 0.0, "b.pos": 10.0}, {"a.pos": 5.0, "b.pos": 10.0}, 50)
    assert len(poses) == 51 and poses[0]["a.pos"] == 0.0 and poses[25]["a.pos"] == 2.5 and poses[-1] == {"a.pos": 5.0, "b.pos": 10.0}


def test_the_command_measures_four_moves_and_saves_and_the_arm_is_back(
    options: dict[str, Any], emulator: SO101Emulator, still: Any, tmp_path: Path
) -> None:  # fmt: skip
    before, file = still(), tmp_path / "pan.json"
    given = [part for name in ("port", "id", "calibration_dir") for part in ("--set", f"{name}={options[name]}")]
    done = CliRunner().invoke(calibrate, ["so101", *given, "--save", str(file)])
    assert done.exit_code == 0, done.output
    assert all(abs(at - before[name]) <= 3 for name, at in still().items())
    timing = read_timing(file)
    assert len(timing.settle_s) == 4 and timing.action_duration_s == duration_s(timing.settle_s)
    assert len(done.output.splitlines()) == 6 and f"an action takes {timing.action_duration_s:.2f} s" in done.output
    assert f"timing={file}" in done.output

    own = {**emulator.options(), "timing": str(file)}
    assert arm_options("so101", own).duration_s() == timing.action_duration_s
    with pytest.raises(ValueError, match="is of shoulder_pan and delta 10, not of elbow_flex and delta 10"):
        arm_options("so101", {**own, "joint": "elbow_flex"})


def test_a_servo_that_never_moved_is_a_failure_and_no_number(so101: Make, emulator: SO101Emulator) -> None:
    arm = so101()
    emulator.fault("stuck", motor=1)
    with pytest.raises(RobotError, match=r"shoulder_pan, sent from 0\.0 to 10\.0, never moved within 0\.3 s: is it free to move\?"):
        measure_timing(arm, "shoulder_pan", 10.0, limit_s=0.3)


def test_no_time_without_room_or_joint(so101: Make) -> None:
    arm = so101(limits={"shoulder_pan": {"min": -5, "max": 50}})
    with pytest.raises(RobotError, match=r"shoulder_pan stands at 0\.0: no room for 10 up and down within \[-5, 50\]"):
        measure_timing(arm, "shoulder_pan", 10.0)
    with pytest.raises(ValueError, match="the arm has no joint 'sholder_pan'; did you mean 'shoulder_pan'"):
        measure_timing(arm, "sholder_pan", 10.0)


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), RobotError("something")])
def test_whatever_happens_the_arm_walks_back(so101: Make, still: Any, trouble: Any) -> None:
    before, arm = still(), so101()

    def tell(text: str) -> None:
        raise trouble

    with pytest.raises(type(trouble)):
        measure_timing(arm, "shoulder_pan", 10.0, tell)
    after = still()
    assert all(abs(at - before[name]) <= 3 for name, at in after.items()), (before, after)


def test_an_arm_that_was_stopped_meanwhile_stays_where_it_is(so101: Make) -> None:
    arm = so101()
    with pytest.raises(RobotError, match="the arm was stopped"):
        measure_timing(arm, "shoulder_pan", 10.0, lambda _: arm.stop())
    assert arm.positions()["shoulder_pan.pos"] == pytest.approx(10.0, abs=0.5)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "the arm's port is missing"),
        (["--set", "port=/dev/none"], "/dev/none"),
        (["--set", "port"], "write NAME=VALUE"),
        (["--set", "port=x", "--set", "colour=red"], "The fields `colour` are not valid"),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(plugin: None, words: list[str], line: str) -> None:
    done = CliRunner().invoke(calibrate, ["so101", *words])
    assert done.exit_code == 2 and line in done.output and "Traceback" not in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_a_cable_that_is_pulled_meanwhile_is_one_line(options: dict[str, Any], emulator: SO101Emulator, monkeypatch: Any) -> None:
    given = [part for name in ("port", "id", "calibration_dir") for part in ("--set", f"{name}={options[name]}")]
    monkeypatch.setattr("click.echo", lambda text, **_: emulator.fault("unplug"))
    done = CliRunner().invoke(calibrate, ["so101", *given], standalone_mode=False)
    assert "the port" in str(done.exception) and "is gone" in str(done.exception)
    assert isinstance(done.exception, click.ClickException)
