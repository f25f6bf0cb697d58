"""ViewState: history, the error of a prediction, curves, health, and bounds."""

import itertools
import math

import msgspec
import numpy as np
import pytest

from nodes.viewer.config import ViewerConfig
from nodes.viewer.curves import Curve
from nodes.viewer.health import HealthBoard
from nodes.viewer.records import candidate_index, stack_cameras
from protocol import messages as m

CHOICES = [{"action": 0.0}, {"action": 1.0}]


def grey(value, size=8):
    return np.full((size, size, 3), value, dtype=np.uint8)


@pytest.mark.parametrize("order", list(itertools.permutations(("frame", "action", "prediction"))))
def test_error_is_computed_whatever_comes_last(make_run, order):
    run = make_run()
    run.robot([("main", 8, 8)], CHOICES)
    run.frame(4, {"main": grey(100)})
    send = {
        "frame": lambda: run.frame(5, {"main": grey(151)}),
        "action": lambda: run.action(4, {"action": 1.0}),
        "prediction": lambda: run.prediction(4, CHOICES, {"main": np.stack([grey(0), grey(141)])}, chosen=0),
    }
    for index, kind in enumerate(order):
        assert run.state.error is None, index
        send[kind]()
    error = run.state.error
    assert error is not None
    assert error.index == 1
    assert error.key == (0, 4)
    assert error.mse == pytest.approx((10 / 255) ** 2)
    assert error.copy_last_mse == pytest.approx((51 / 255) ** 2)
    assert error.heat.shape == (8, 8)
    assert (error.heat == 10).all()
    assert run.state.curves["live_mse"].last == error.mse


def test_no_error_for_an_action_that_was_no_candidate_or_another_episode(make_run):
    run = make_run()
    run.frame(0, {"main": grey(1)})
    run.prediction(0, CHOICES, {"main": np.stack([grey(1), grey(2)])})
    run.action(0, {"action": 0.5})
    run.frame(1, {"main": grey(3)})
    assert run.state.error is None
    run.prediction(1, CHOICES, {"main": np.stack([grey(1), grey(2)])})
    run.action(1, CHOICES[0])
    run.frame(2, {"main": grey(3)}, episode=1)
    assert run.state.error is None


def test_error_needs_the_same_size(make_run):
    run = make_run()
    run.frame(0, {"main": grey(1)})
    run.prediction(0, CHOICES, {"main": np.zeros((2, 4, 4, 3), np.uint8)})
    run.action(0, CHOICES[0])
    run.frame(1, {"main": grey(3)})
    assert run.state.error is None


def test_history_is_bounded_and_starts_anew_with_an_episode_or_a_run(make_run):
    run = make_run(context=3)
    for step in range(20):
        run.frame(step, {"main": grey(step)})
        run.action(step, CHOICES[0])
        run.prediction(step, CHOICES, {"main": np.stack([grey(1), grey(2)])})
    state = run.state
    assert [frame.step for frame in state.frames] == [16, 17, 18, 19]
    assert len(state.predictions) <= 4
    assert len(state.actions) <= 64
    run.frame(0, {"main": grey(0)}, episode=1)
    assert [frame.key for frame in state.frames] == [(1, 0)]
    run.frame(0, {"main": grey(0)}, episode=1, run="run-2")
    assert len(state.frames) == 1
    assert not state.actions
    assert not state.predictions


def test_frames_without_an_image_and_unknown_arrays_are_ignored(make_run):
    run = make_run()
    run.send("frame/robot", m.Frame(), {"state": np.zeros(6, np.float32), "depth/main": np.zeros((4, 4), np.uint16)})
    assert run.state.frame is None
    run.send("log/robot", m.LogRecord(level="INFO", logger="x", text="y"))
    assert run.state.version == 1
    run.prediction(0, CHOICES, {"main": np.zeros((3, 4, 4, 3), np.uint8)})  # three pictures, two candidates
    assert run.state.prediction.pictures == ()


def test_cameras_are_stacked_at_the_widest_width():
    picture = stack_cameras([grey(9, 80), np.full((10, 40, 3), 7, np.uint8)])
    assert picture.shape == (80 + 1 + 20, 80, 3)
    assert (picture[:80] == 9).all()
    assert (picture[80] == 0).all()
    assert (picture[81:] == 7).all()


def test_candidate_index():
    candidates = [{"a": 0.1, "b": 1.0}, {"a": 0.2, "b": 1.0}]
    assert candidate_index({"a": float(np.float32(0.2)), "b": 1.0}, candidates) == 1
    assert candidate_index({"a": 0.15, "b": 1.0}, candidates) is None
    assert candidate_index({"a": 0.1}, candidates) is None


def test_curve_keeps_the_whole_run_in_bounded_memory():
    curve = Curve(limit=100)
    for x in range(10_007):
        curve.add(float(x), 2.0 * x)
    curve.add(1.0, math.nan)
    curve.add(math.inf, 1.0)
    xs, ys = curve.points()
    assert len(xs) == len(curve) <= 100
    assert curve.last == 2.0 * 10_006
    assert xs[0] < 200
    assert xs[-1] > 9_800
    assert (np.diff(xs) > 0).all()
    np.testing.assert_allclose(ys, 2 * xs)


def test_metrics_make_curves_and_unknown_names_are_kept_out(make_run):
    run = make_run()
    run.metrics(loss=0.5, strange=1.0)
    run.now += 2
    run.metrics(loss=0.25)
    xs, ys = run.state.curves["loss"].points()
    assert xs.tolist() == [0.0, 2.0]
    assert ys.tolist() == [0.5, 0.25]
    assert "strange" not in run.state.curves
    assert "strange" not in run.state.metrics


def test_health_of_nodes(make_run):
    run = make_run()
    board: HealthBoard = run.state.health
    assert board.nodes["robot"].condition(run.now) == "waiting"
    run.status("robot", out={"frame/robot": 9, "status/robot": 500})
    run.now += 2
    run.status("robot", out={"frame/robot": 29, "status/robot": 502})
    robot = board.nodes["robot"]
    assert robot.rate_hz == pytest.approx(10.0)
    assert robot.messages == 30 + 503
    assert robot.condition(run.now + 2.9) == "running"
    assert robot.condition(run.now + 3.1) == "silent"
    run.now += 1
    run.status("robot", out={"frame/robot": 0}, run="run-2")
    assert robot.rate_hz is None  # counts of two runs are not compared
    run.status("trainer", received=70, skipped=5, lost=2)
    trainer = board.nodes["trainer"]
    assert (trainer.messages, trainer.skipped, trainer.lost) == (70, 5, 2)
    run.status("trainer", "stopped", final=True)
    assert trainer.condition(run.now + 99) == "stopped"
    run.status("viewer-2")
    assert list(board.nodes)[-1] == "viewer-2"


def test_alarms_come_and_go_and_are_bounded(make_run):
    run = make_run()
    run.alarm("disk_low", "3 GB left")
    run.alarm("disk_low", "2 GB left")
    assert [alarm.text for alarm in run.state.alarms.values()] == ["2 GB left"]
    run.alarm("disk_low", "", active=False)
    assert not run.state.alarms
    for index in range(99):
        run.alarm(f"a{index}", "x")
    assert len(run.state.alarms) <= 32


def test_the_graph_tells_what_is_missing(make_run):
    run = make_run(nodes={"robot": "robot"})
    assert run.state.has_kind("robot") is True
    assert run.state.has_kind("predictor") is False
    unknown = make_run(nodes={})
    assert unknown.state.has_kind("predictor") is None
    unknown.status("predictor")
    assert unknown.state.has_kind("predictor") is True


def test_version_grows_only_with_changes(make_run):
    state = make_run().state
    state.prompt = ""
    assert state.version == 0
    state.prompt = "step 3: action 1?"
    state.prompt = "step 3: action 1?"
    assert state.version == 1
    state.say("saved", 10.0)
    assert state.toast(13.0) == "saved"
    assert state.toast(14.5) == ""
    state.toggle_help()
    assert state.version == 3
    assert state.show_help


def test_paused_and_recording(make_run):
    run = make_run()
    assert not run.state.paused
    assert not run.state.recording(run.now)
    run.heartbeats(robot_state="paused")
    assert run.state.paused
    assert run.state.recording(run.now)
    assert not run.state.recording(run.now + 10)


def test_config_refuses_what_cannot_be():
    config = msgspec.convert({"size": [960, 540], "window": False}, ViewerConfig)
    assert config.size == (960, 540)
    for wrong in ({"size": [10, 10]}, {"rate_hz": 0}, {"png_every_s": -1}, {"context": 0}, {"colour": "red"}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, ViewerConfig)
