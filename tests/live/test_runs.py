"""What a user does: learn, run without learning, replay, evaluate, view."""

import json
import signal

import numpy as np
import pytest

from storage.reader import SessionReader

from .conftest import SMALL, Bench, check_law, wait_for


def test_a_world_is_learned_recorded_and_scored(bench: Bench) -> None:
    run = bench.launch("online.yaml", "small", time_limit_s=12, rate_hz=50, **SMALL)
    code, output, summary = run.end()
    assert code == 0, output
    check_law(summary)
    assert summary["outcome"] in ("time", "learned") and summary["exit_code"] == 0
    assert summary["steps"] > 50 and summary["episodes"] >= 2 and summary["samples"] > 0
    assert summary["scores"]["cf_accuracy"] is not None and summary["session"] == "small"
    assert "dropped   nothing" in output and "toddle evaluate small" in output
    frames = summary["topics"]["frame/robot"]
    assert frames["recorder"]["received"] == frames["recorder"]["published"]
    with SessionReader(bench.folder / "sessions" / "small") as reader:
        assert reader.info().topics["frame/robot"].count == frames["recorder"]["published"]
        shown = {int(m.arrays["state"][1]) for m in reader.topic_messages("frame")}
    assert shown and not any(y % 9 == 0 for y in shown), "held-out rows were shown live"
    assert (run.path / "viewer" / "latest.png").stat().st_size > 10_000
    assert bench.toddle("sessions", "verify", "small").returncode == 0

    scored = bench.toddle("evaluate", "small", "--json")
    assert scored.returncode == 0, scored.stderr
    rows = {row["on"]: row for row in json.loads(scored.stdout)["scores"]}
    assert abs(rows["probe"]["scores"]["cf_accuracy"] - summary["scores"]["cf_accuracy"]) < 0.05
    assert rows["episodes learned from"]["seen_in_training"]
    assert set(rows) == {"probe", "episodes learned from"}

    again = bench.launch("replay.yaml", "again", session="small", rate=5)
    code, output, summary = again.end()
    assert code == 0 and summary["outcome"] == "ended", output
    check_law(summary)
    assert _frames(bench, "again") == _frames(bench, "small")
    rows = _rows(bench, "again", "small")
    assert rows == {"probe": False, "episodes learned from": True}, "what a replay learned from is known in its source"

    shown_again = bench.toddle("view", "small", "--speed", "0", "--no-window", "--mp4")
    assert shown_again.returncode == 0, shown_again.stderr
    assert (bench.folder / "view-small" / "latest.png").exists() and (bench.folder / "view-small" / "video.mp4").exists()


@pytest.mark.slow  # the README's commands, which the tests follow, do the same
def test_a_real_recording_is_imported_and_replayed(bench: Bench, recordings) -> None:
    tub = str(recordings / "donkeycar_tub")
    made = bench.toddle("sessions", "import", "donkeycar", tub, "--name", "car", "--episodes-at", "151,514,516,527,651,666", "--fps", "20")
    assert made.returncode == 0, made.stderr
    code, output, summary = bench.launch("replay.yaml", "drive", session="car", rate=10).end()
    assert code == 0 and summary["outcome"] == "ended", output
    check_law(summary)
    assert summary["steps"] == 1000 and summary["episodes"] == 7
    assert summary["scores"]["skill_copy_last"] is not None and summary["scores"]["cf_accuracy"] is None
    with SessionReader(bench.folder / "sessions" / "drive") as played:
        assert [(e.frames, e.held_out) for e in played.episodes()][-2:] == [(15, False), (334, True)]
    assert _frames(bench, "drive") == _frames(bench, "car")
    for session in ("drive", "car"):
        assert _rows(bench, "drive", session) == {"episodes learned from": True, "held-out episodes": False}
    assert _actions(bench, "drive") == _actions(bench, "car")


def test_a_robot_runs_without_learning_and_without_torch(bench: Bench) -> None:
    run = bench.launch("run.yaml", "plain", options=SMALL, timing="lockstep", rate_hz=200, steps=1000, selector="sequence",
                       selector_options={"sequence": "double_move"})  # fmt: skip
    run.running()
    maps = {}
    for name in ("robot", "recorder", "predictor", "viewer"):
        node = run.node(name)
        if node is not None:
            maps[name] = [m.path for m in node.memory_maps() if "torch" in m.path]
    code, output, summary = run.end()
    assert code == 0 and summary["outcome"] == "ended", output
    check_law(summary)
    assert maps and not any(maps.values())
    assert summary["steps"] == 1000 and summary["samples"] == 0 and summary["scores"]["skill_copy_last"] is None
    actions = _actions(bench, "plain")
    assert [a["action"] for a in actions[:6]] == [1, 1, 0, 1, 1, 0]
    assert "actions" in output and "timing" in output


def test_a_person_decides_each_step(bench: Bench) -> None:
    run = bench.launch("run.yaml", "asked", options=SMALL, confirm=True, selector="constant", steps=2)  # fmt: skip
    run.running()
    wait_for(lambda: "?" in run.status("predictor").get("detail", ""), "a question is asked")
    run.ask("predictor", "confirm", {})
    wait_for(lambda: run.status("predictor").get("detail", "").startswith("step 1:"), "the next question is asked")
    run.ask("predictor", "confirm", {"index": 1})
    code, output, summary = run.end()
    assert code == 0 and summary["steps"] == 2, output
    assert [a["action"] for a in _actions(bench, "asked")] == [0, 1]
    check_law(summary)


OWN_ROBOT = """
import numpy as np
from nodes.robot.interface import Observation
from protocol.messages import ActionSpaceInfo


class Arm:
    action_space = ActionSpaceInfo(names=["pan", "lift"], low=[-1.0, 0.0], high=[1.0, 2.0])
    safe_action = {"pan": 0.0, "lift": 0.0}
    state_names = ["pan", "lift"]

    def __init__(self, options, seed):
        self.state = np.zeros(2, np.float32)

    def observe(self):
        wrist = np.full((24, 40, 3), int(100 * (1 + self.state[0])), np.uint8)
        base = np.full((30, 18, 3), int(100 * self.state[1]), np.uint8)
        return Observation(images={"wrist": wrist, "base": base}, depth={"base": base[..., 0].astype(np.uint16)}, state=self.state.copy())

    def execute(self, action):
        self.state[:] = action["pan"], action["lift"]
        return True

    def reset(self): ...
    def stop(self): ...
    def close(self): ...
"""
OWN_GRAPH = """
nodes:
  recorder:  {kind: recorder,  inputs: [robot, trainer, predictor]}
  trainer:   {kind: trainer,   inputs: [robot], params: {min_transitions: 8}}
  predictor: {kind: predictor, inputs: [robot, trainer], params: {candidates: 4, max_hz: 0}}
  robot:     {kind: robot,     inputs: [predictor], params: {driver: "arm:Arm", timing: paced, rate_hz: 20, episode_steps: 16}}
"""


def test_a_robot_of_ones_own_with_two_cameras_and_continuous_actions(bench: Bench) -> None:
    (bench.folder / "arm.py").write_text(OWN_ROBOT)
    (bench.folder / "arm.yaml").write_text(OWN_GRAPH)
    done = bench.toddle("launch", "arm.yaml", "--name", "arm", "--time-limit", "7")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((bench.folder / "runs" / "arm" / "summary.json").read_bytes())
    check_law(summary)
    assert summary["samples"] > 0
    with SessionReader(bench.folder / "sessions" / "arm") as reader:
        frame = next(reader.topic_messages("frame"))
        assert {name: array.shape for name, array in frame.arrays.items()} == {
            "image/wrist": (24, 40, 3), "image/base": (30, 18, 3), "depth/base": (30, 18), "state": (2,),
        }  # fmt: skip
        actions = [x.body for x in reader.topic_messages("action")]
        assert all(-1 <= a.action["pan"] <= 1 and 0 <= a.action["lift"] <= 2 for a in actions)
        assert any(not a.safe for a in actions)
        predictions = list(reader.topic_messages("prediction"))
    assert predictions
    assert len(predictions[-1].body.candidates) == 5, "four samples of the space, and the action taken"
    assert any(p.body.error is not None for p in predictions), "a continuous action is scored too"


def test_a_second_viewer_joins_over_tcp_and_disturbs_nobody(bench: Bench) -> None:
    run = bench.launch("run.yaml", "watched", "--tcp", options=SMALL, timing="lockstep", rate_hz=50, viewer=False)
    run.running()
    copy = bench.folder / "graph.json"  # as it would be copied to another machine
    copy.write_bytes((run.path / "graph.json").read_bytes())
    assert b"tcp://127.0.0.1:" in copy.read_bytes()
    view = bench.start("view", str(copy), "--no-window", "--out", str(bench.folder / "far"))
    wait_for(lambda: (bench.folder / "far" / "viewer" / "latest.png").exists(), "the far viewer draws")
    view.send_signal(signal.SIGINT)
    assert view.wait(30) == 0
    assert run.status("robot")["state"] == "running"
    run.interrupt()
    code, output, summary = run.end()
    assert code == 0, output
    check_law(summary)
    assert not any("view-" in name for subscribers in summary["topics"].values() for name in subscribers)


def _rows(bench: Bench, run: str, session: str) -> dict[str, bool]:
    """What `toddle evaluate` scored on, and whether it was learned from."""
    scored = bench.toddle("evaluate", run, session, "--windows", "32", "--json")
    assert scored.returncode == 0, scored.stderr
    return {row["on"]: row["seen_in_training"] for row in json.loads(scored.stdout)["scores"]}


def _frames(bench: Bench, session: str) -> list[bytes]:
    with SessionReader(bench.folder / "sessions" / session) as reader:
        return [b"".join(np.ascontiguousarray(a).tobytes() for a in m.arrays.values()) for m in reader.topic_messages("frame")]


def _actions(bench: Bench, session: str) -> list[dict[str, float]]:
    with SessionReader(bench.folder / "sessions" / session) as reader:
        return [m.body.action for m in reader.topic_messages("action")]
