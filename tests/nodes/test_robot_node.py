"""The robot node by hand: what it publishes for which command, pause and mark."""

import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nodes.robot.config import RobotConfig
from nodes.robot.node import RobotNode
from nodes.runtime import MAX_WAIT_S, NodeError
from protocol import messages as m

SMALL = {"size": 16, "radius": 2, "step": 5, "probe_states": 4}
PREDICTOR = [("pred", "predictor")]
Make = Callable[..., m.Message]


@pytest.fixture
def robot(node: Any) -> Callable[..., Any]:
    """A dot robot that has begun; lockstep as fast as commands come."""

    def make(inputs: list[tuple[str, str]] | None = None, **config: Any) -> Any:
        config = {"rate_hz": 0.0, "options": SMALL, **config}
        made = node(RobotNode, RobotConfig(**config), inputs)
        made.go()
        return made

    return make


@pytest.fixture
def tell(message: Make) -> Callable[..., None]:
    """A command for where the robot is, good for a minute."""

    def command(robot: Any, action: float = 1.0, place: tuple[int, int] | None = None, good_s: float = 60.0) -> None:
        episode, step = place or (robot.progress.episode, robot.progress.step)
        body = m.Command(action={"action": action}, by="test", deadline_mono_ns=time.monotonic_ns() + int(good_s * 1e9))
        robot.on_command(message("command", body, episode=episode, step=step))

    return command


def test_it_says_what_it_is_before_it_begins(robot: Any) -> None:
    made = robot(PREDICTOR, steps=3)
    assert [one.kind for one in made.bus.sent] == ["robot", "probe", "episode"]
    said = made.bus.of("robot")[0].body
    assert said.cameras == [m.CameraInfo(name="top", height=16, width=16)]
    assert (said.driver, said.timing, said.state_names, said.params) == ("toroidal_dot", "lockstep", ["x", "y"], SMALL)


def test_lockstep_makes_one_step_per_command(robot: Any, tell: Any) -> None:
    made = robot(PREDICTOR)
    assert made.tick() == 0.0
    assert made.tick() > 1.0  # patient: no command came
    tell(made, 1.0)
    made.tick()
    made.tick()
    tell(made, 0.0)
    made.tick()
    made.tick()
    assert made.bus.places("frame", "action", "episode") == [
        ("start", 0, 0), ("frame", 0, 0), ("action", 0, 0), ("frame", 0, 1), ("action", 0, 1), ("frame", 0, 2),
    ]  # fmt: skip
    actions = [one.body for one in made.bus.of("action")]
    done = [(one.action["action"], one.by, one.success, one.safe) for one in actions]
    assert done == [(1.0, "test", True, False), (0.0, "test", True, False)]
    assert all(one.start_ns <= one.end_ns for one in actions)
    x = [one.arrays["state"][0] for one in made.bus.of("frame")]
    assert [(b - a) % 16 for a, b in pairwise(x)] == [5, 0]


def test_commands_for_other_steps_are_refused(robot: Any, tell: Any) -> None:
    made = robot(PREDICTOR)
    tell(made)  # no frame was shown yet
    made.tick()
    tell(made, place=(0, 1))
    tell(made, place=(1, 0))
    tell(made, action=0.5)
    assert made.tick() > 1.0
    tell(made, good_s=-1.0)
    assert made.gate.refused == {"other_step": 3, "not_an_action": 1, "too_late": 1}
    made.tick()
    assert made.bus.places("frame", "action") == [("frame", 0, 0), ("frame", 0, 0)], "shown again, to be answered in time"


def test_a_lockstep_robot_is_safe_when_its_patience_ends(robot: Any) -> None:
    made = robot(PREDICTOR, silence_s=1e-9)
    for _ in range(3):
        made.tick()
    action = made.bus.of("action")[0].body
    assert (action.action, action.by, action.safe, made.late) == ({"action": 0.0}, "robot", True, 1)
    forever = robot(PREDICTOR)
    forever.tick()
    assert forever.tick() > MAX_WAIT_S


def test_a_paced_robot_is_safe_when_a_command_is_late(robot: Any, tell: Any) -> None:
    made = robot(PREDICTOR, timing="paced", rate_hz=1000.0)
    for _ in range(200):
        time.sleep(max(made.tick(), 0))
        if made.progress.steps >= 5:
            break
    assert made.late >= 4
    assert {one.body.safe for one in made.bus.of("action")} == {True}
    in_time = robot(PREDICTOR, timing="paced", rate_hz=0.001, silence_s=0)
    in_time.tick()
    assert in_time.tick() > 100
    tell(in_time)
    in_time.tick()
    assert in_time.bus.of("action")[0].body.safe is False


def test_without_a_commander_it_takes_the_safe_action_and_nothing_is_late(robot: Any) -> None:
    made = robot()
    for _ in range(6):
        made.tick()
    assert made.late == 0
    assert len(made.bus.of("action")) == 3


def test_episodes_end_with_the_frame_of_their_last_action(robot: Any) -> None:
    made = robot(episode_steps=2, steps=3)
    while made.phase != "ended":
        made.tick()
    assert made.bus.places("frame", "action", "episode") == [
        ("start", 0, 0), ("frame", 0, 0), ("action", 0, 0), ("frame", 0, 1), ("action", 0, 1), ("frame", 0, 2), ("end", 0, 2),
        ("start", 1, 0), ("frame", 1, 0), ("action", 1, 0), ("frame", 1, 1), ("end", 1, 1),
    ]  # fmt: skip
    assert "outcome" not in made.bus.said, "not before all of it is taken"
    made.tick()
    assert made.bus.said["outcome"] == "ended"
    assert made.tick() == MAX_WAIT_S
    with pytest.raises(ValueError, match="the run has ended"):
        made.do_mark({"mark": "reset"})


def test_a_restarted_robot_goes_on_counting_episodes(robot: Any) -> None:
    assert robot().progress.episode == 0
    again = robot()
    assert again.bus.places("episode") == [("start", 1, 0)]


def test_a_run_ends_after_so_many_episodes_that_were_not_discarded(robot: Any) -> None:
    made = robot(episode_steps=2, episodes=3)
    made.tick()
    made.do_mark({"mark": "discard"})
    made.tick()
    made.do_mark({"mark": "success"})
    made.do_reset({})  # the next one, now
    made.close()  # interrupted in the fourth: it does not count
    again = robot(episode_steps=2, episodes=3)
    while again.phase != "ended":
        again.tick()
    marks = [(mark, episode) for one in (made, again) for mark, episode, _ in one.bus.places("episode")]
    assert marks == [
        ("start", 0), ("discard", 0), ("end", 0), ("start", 1), ("success", 1), ("end", 1), ("start", 2), ("reset", 2), ("end", 2),
        ("start", 3), ("end", 3), ("start", 4), ("end", 4),
    ]  # fmt: skip
    enough = robot(episode_steps=2, episodes=3)
    assert enough.phase == "ended" and enough.bus.places("episode", "frame") == []


def test_between_episodes_a_person_has_time_to_judge_the_one_before_and_to_go_on(robot: Any) -> None:
    made = robot(episode_steps=1, episodes=2, between_s=3600.0)
    while made.phase != "between":
        made.tick()
    assert made.tick() > 3000
    made.do_mark({"mark": "discard"})
    made.do_mark({"mark": "failure"})
    made.do_pause({})
    made.do_reset({})
    assert made.tick() == MAX_WAIT_S
    made.do_resume({})
    while (made.phase, made.progress.episode) != ("between", 1):
        made.tick()
    assert made.episodes.kept == 1
    made.do_reset({})
    while made.phase != "ended":
        made.tick()
    assert [(mark, episode) for mark, episode, _ in made.bus.places("episode")] == [
        ("start", 0), ("end", 0), ("discard", 0), ("failure", 0), ("start", 1), ("end", 1), ("start", 2), ("end", 2),
    ]  # fmt: skip


def test_a_robot_goes_on_when_its_place_cannot_be_written(robot: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "place-node").mkdir()
    made = robot(episode_steps=1)
    for _ in range(8):
        made.tick()
    assert made.progress.episode >= 2
    assert caplog.text.count("cannot be written") == 1


def test_marks_of_a_person_begin_a_new_episode(robot: Any) -> None:
    made = robot()
    made.tick()
    made.do_mark({"mark": "success"})
    made.do_reset({})
    assert made.bus.places("episode") == [
        ("start", 0, 0), ("success", 0, 0), ("end", 0, 0), ("start", 1, 0), ("reset", 1, 0), ("end", 1, 0), ("start", 2, 0),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="unknown mark 'wat'"):
        made.do_mark({"mark": "wat"})
    with pytest.raises(KeyError):
        made.do_mark({})


def test_pause_step_resume(robot: Any) -> None:
    made = robot()
    with pytest.raises(ValueError, match="pause the robot first"):
        made.do_step({})
    made.do_pause({})
    assert made.bus.said["state"] == "paused"
    for _ in range(3):
        assert made.tick() == MAX_WAIT_S
    assert made.bus.of("frame") == []
    for steps in (1, 2):
        made.do_step({})
        for _ in range(4):
            made.tick()
        assert made.progress.steps == steps
    made.do_resume({})
    assert made.bus.said["state"] == "running"
    for _ in range(4):
        made.tick()
    assert made.progress.steps == 4


def test_after_a_pause_an_old_command_counts_no_more(robot: Any, tell: Any) -> None:
    """The frame is shown again and asked about again, so that a step is what was chosen, not the safe action."""
    made = robot(PREDICTOR)
    made.tick()
    tell(made, good_s=0.0)
    made.do_pause({})
    made.tick()
    made.do_step({})
    made.tick()
    assert made.bus.places("frame") == [("frame", 0, 0), ("frame", 0, 0)]
    tell(made)
    made.tick()
    assert made.bus.of("action")[0].body.safe is False
    assert made.tick() == MAX_WAIT_S
    made.do_resume({})
    made.tick()
    tell(made)
    made.do_pause({})
    made.do_resume({})  # short: the command is still good
    made.tick()
    assert made.bus.places("frame")[2:] == [("frame", 0, 1)]


def test_closing_ends_the_episode_and_says_the_numbers(robot: Any) -> None:
    made = robot()
    for _ in range(4):
        made.tick()
    made.close()
    assert made.bus.places("episode")[-1] == ("end", 0, 2)
    values = made.bus.of("metrics")[-1].body.values
    assert (values["steps"], values["episodes"], values["late"], values["action.action=0"]) == (2, 1, 0, 2)


# -- drivers of users -----------------------------------------------------------------------------


@pytest.fixture
def arm(node: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.delitem(sys.modules, "drivers_for_tests", raising=False)

    def make(name: str, **options: Any) -> Any:
        return node(RobotNode, RobotConfig(driver=f"drivers_for_tests:{name}", rate_hz=0.0, options=options))

    return make


def ticks(made: Any, count: int, go: bool = False) -> None:
    if go:
        made.go()
    for _ in range(count):
        made.tick()


def test_a_users_driver_reports_what_it_did(arm: Any) -> None:
    made = arm("Arm")
    made.go()
    for _ in range(6):
        made.tick()
    assert [one.body.success for one in made.bus.of("action")] == [True, False, True]
    assert made.bus.of("robot")[0].body.actions.low == [-1.0]
    assert not made.bus.of("probe")


def test_a_lost_robot_is_one_line(arm: Any) -> None:
    made = arm("Arm", lost_at=3)
    made.go()
    with pytest.raises(NodeError, match="the robot is lost: no answer from the arm"):
        ticks(made, 10)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ForgetsToReturn", "execute returned None, not whether it was done"),
        ("FillsAgain", "fills an array that it gave away"),
        ("GreyImages", "image 'wrist' is uint8 (4, 6), not HxWx3 uint8"),
        ("UnsafeSafeAction", "its safe_action {'pan': 9.0} is no action"),
    ],
)  # fmt: skip
def test_mistakes_of_a_driver_are_one_line(arm: Any, name: str, says: str) -> None:
    with pytest.raises(NodeError) as caught:
        ticks(arm(name), 4, go=True)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_driver_may_end_its_episodes_and_tell_of_its_steps(robot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    made = robot(driver="drivers_for_tests:Game", options={}, steps=7, silence_s=0.0)
    while made.phase != "ended":
        made.tick()
    marks = [(one.body.mark, one.body.reason, one.envelope.step) for one in made.bus.of("episode")]
    assert marks[:4] == [("start", "", 0), ("end", "terminated", 3), ("start", "", 0), ("end", "terminated", 3)]
    assert marks[4:] == [("start", "", 0), ("end", "the number of steps asked for", 1)]
    rewards = [(one.envelope.episode, one.envelope.step, one.body.values["reward"])
               for one in made.bus.of("metrics") if "reward" in one.body.values]  # fmt: skip
    assert rewards == [(0, 0, 1.0), (0, 1, 2.0), (0, 2, 3.0), (1, 0, 1.0), (1, 1, 2.0), (1, 2, 3.0), (2, 0, 1.0)]
    last = [one.envelope.step for one in made.bus.of("frame") if one.body.last]
    assert last == [3, 3, 1]


def test_options_that_have_args_of_their_own_go_with_the_others(robot: Any) -> None:
    made = robot(options={"probe_states": 0, "radius": 2}, named={"size": 20, "step": None})
    assert made.bus.of("robot")[0].body.params == {"probe_states": 0, "radius": 2, "size": 20}
    with pytest.raises(ValueError, match="size is given twice"):
        RobotConfig(options={"size": 16}, named={"size": 20})
