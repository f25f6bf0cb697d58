"""Simulated robots in the launch files: learned, recorded and played again."""

import pytest

from storage.reader import SessionReader

from .conftest import Bench, check_law


def test_the_arm_is_run_and_recorded(bench: Bench) -> None:
    options = {"cameras": ["front", "wrist"], "size": 32, "holdout_octant": 7, "probe_states": 4}
    run = bench.launch("run.yaml", "arm", driver="mujoco_arm", options=options, steps=25, rate_hz=0, viewer=False, episode_steps=10)
    code, output, summary = run.end()
    assert code == 0, output
    check_law(summary)
    assert summary["steps"] == 25 and summary["episodes"] == 3
    with SessionReader(bench.folder / "sessions" / "arm") as reader:
        robot, probe = reader.robot, reader.probe()
    assert robot is not None and robot.params == options and len(robot.actions.choices) == 7
    assert [(one.name, one.height) for one in robot.cameras] == [("front", 32), ("wrist", 32)]
    assert probe is not None and probe.arrays["novel"].tolist() == [1, 1, 0, 0]


@pytest.mark.slow
def test_pusht_and_a_game_that_ends_by_itself_are_recorded_and_played_again(bench: Bench) -> None:
    games = {
        "push": ("gymnasium:gym_pusht/PushT-v0", {"probe_states": 4}),
        "pole": ("gymnasium:CartPole-v1", {"size": [40, 60], "repeat": 2, "probe_states": 4}),
    }
    for name, (driver, options) in games.items():
        run = bench.launch("run.yaml", name, driver=driver, options=options, steps=60, rate_hz=0, viewer=False)
        code, output, summary = run.end()
        assert code == 0, output
        check_law(summary)
        assert summary["steps"] == 60
        assert bench.toddle("sessions", "verify", name).returncode == 0
    with SessionReader(bench.folder / "sessions" / "pole") as reader:
        ends = [one.body.reason for one in reader.topic_messages("episode") if one.body.mark == "end"]
        rewards = [one.body.values for one in reader.topic_messages("metrics") if "reward" in one.body.values]
    assert len(ends) > 2 and set(ends[:-1]) == {"terminated"}
    assert len(rewards) == 60 and all(set(values) == {"reward"} for values in rewards)
    again = bench.launch("replay.yaml", "again", session="push", rate=0, viewer=False, train={"threads": 1})
    code, output, summary = again.end()
    assert code == 0 and summary["outcome"] == "ended", output


@pytest.mark.slow
@pytest.mark.parametrize("driver", ["mujoco_arm", "gymnasium:gym_pusht/PushT-v0"])
def test_they_are_learned_live(driver: str, bench: Bench) -> None:
    run = bench.launch("online.yaml", "learned", driver=driver, time_limit_s=30, rate_hz=50, viewer=False, options={"probe_states": 8})
    code, output, summary = run.end()
    assert code == 0, output
    check_law(summary)
    assert summary["steps"] > 50 and summary["samples"] > 0 and summary["scores"]["cf_accuracy"] is not None
