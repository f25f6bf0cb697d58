"""Whole runs of real processes: stand-ins on the real runtime and the real bus."""

import io
import json
import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

PAIR = """
nodes:
  recorder: {{kind: recorder, inputs: [robot], params: {{{recorder}}}, {recorder_spec}}}
  robot: {{kind: robot, params: {{{robot}}}, {robot_spec}}}
"""


def pair(robot: str = "", recorder: str = "", robot_spec: str = "", recorder_spec: str = "") -> str:
    return PAIR.format(robot=robot, recorder=recorder, robot_spec=robot_spec, recorder_spec=recorder_spec)


def test_five_nodes_run_to_the_end_of_the_source_and_balance(start: Callable[..., Any]) -> None:
    run = start("""
        nodes:
          recorder: {kind: recorder, inputs: [robot, trainer, predictor, viewer]}
          trainer: {kind: trainer, inputs: [robot], params: {scores: {cf_accuracy: 0.99}, mark_s: 30}}
          predictor: {kind: predictor, inputs: [robot, trainer]}
          viewer: {kind: viewer, inputs: [robot, trainer, predictor, recorder], required: false}
          robot: {kind: robot, inputs: [predictor], params: {steps: 30}}
    """)
    assert run.wait() == 0, run.text()
    summary = run.summary()
    assert (summary["outcome"], summary["exit_code"], summary["steps"]) == ("ended", 0, 30)
    assert summary["topics"]["frame/robot"]["recorder"] == {"published": 30, "received": 30, "skipped": 0, "lost": 0}
    assert set(summary["topics"]["frame/robot"]) == {"recorder", "trainer", "predictor", "viewer"}
    for subscribers in summary["topics"].values():
        for count in subscribers.values():
            assert count["published"] == count["received"] + count["skipped"] + count["lost"]
            assert count["lost"] == 0
    assert summary["scores"]["cf_accuracy"] == 0.99
    assert summary["scores"]["hit_at_3px"] is None
    assert summary["scores_at"]["30"]["cf_accuracy"] == 0.99
    assert summary["scores_at"]["60"] is None
    assert summary["session"] == "standin"
    assert summary["command"][0].endswith("starter.py")
    assert {"python", "numpy", "pyzmq"} <= set(summary["versions"])
    assert "dropped   nothing" in run.text()
    assert "toddle evaluate r" in run.text()
    run.nobody_left(run.pids())


def test_a_run_folder_says_what_was_started(start: Callable[..., Any]) -> None:
    run = start(pair(robot="steps: 3"))
    assert run.wait() == 0, run.text()
    names = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert {"launch.yaml", "launch.json", "run.json", "graph.json", "summary.json", "wiring/robot.json", "logs/robot.stderr"} <= names


def test_learned_ends_the_run(start: Callable[..., Any]) -> None:
    run = start("""
        nodes:
          trainer: {kind: trainer, inputs: [robot], params: {steps: 10, outcome: learned}}
          robot: {kind: robot}
    """)
    assert run.wait() == 0, run.text()
    assert run.summary()["outcome"] == "learned"


def test_the_time_limit_ends_the_run(start: Callable[..., Any]) -> None:
    run = start("time_limit_s: 0.5\n" + pair())
    assert run.wait() == 0, run.text()
    assert run.summary()["outcome"] == "time"
    assert run.summary()["seconds"] >= 0.5


def test_a_killed_node_starts_again_and_goes_on(start: Callable[..., Any], wait: Callable[..., Any]) -> None:
    run = start(pair(robot_spec="restart: {policy: on-failure, backoff_s: 0.1}"))
    run.says("running 0:")
    first = run.pid("robot")
    os.kill(first, signal.SIGKILL)
    run.says("robot was ended by SIGKILL (perhaps out of memory: see dmesg); starts again in 0.")
    second = wait(lambda: (pid := run.pid("robot")) != first and pid, "a new process")
    assert psutil.pid_exists(second)
    run.says("robot running")
    run.signal(signal.SIGINT)
    assert run.wait() in (0, 3), run.text()
    assert run.summary()["nodes"]["robot"] == {
        "kind": "robot", "exit_codes": [-9, 0], "restarts": 1, "troubles": {}, "crashes": ["crashes/robot-1.txt"],
    }  # fmt: skip
    assert any("robot was started again 1 x" in note for note in run.summary()["notes"])


def test_a_killed_node_that_never_restarts_ends_the_run(start: Callable[..., Any]) -> None:
    run = start(pair())
    run.says("running 0:")
    os.kill(run.pid("robot"), signal.SIGKILL)
    assert run.wait() == 1
    assert run.summary()["outcome"] == "failed"
    assert run.summary()["nodes"]["robot"]["exit_codes"] == [-9]
    assert "robot was ended by SIGKILL" in run.text()


def test_restarts_are_limited(start: Callable[..., Any]) -> None:
    run = start(pair(robot="fail_after: 2", robot_spec="restart: {policy: on-failure, max: 2, backoff_s: 0.05}"))
    assert run.wait() == 1, run.text()
    robot = run.summary()["nodes"]["robot"]
    assert (robot["exit_codes"], robot["restarts"], len(robot["crashes"])) == ([1, 1, 1], 2, 3)
    said = "robot failed with exit code 1: broken on purpose; its 2 restarts within 60 s are used up; see "
    last = next(line for line in run.text().splitlines() if line.startswith(f"ERROR: {said}"))
    assert last.endswith("crashes/robot-3.txt")
    report = (run.path / "crashes" / "robot-3.txt").read_text()
    assert "2 restarts before" in report and "ERROR robot: broken on purpose" in report


@pytest.mark.parametrize("code", [2, 4])
def test_a_nodes_own_exit_code_is_passed_on_without_restart(start: Callable[..., Any], code: int) -> None:
    run = start(pair(recorder=f"fail_after: 2, exit_code: {code}", recorder_spec="restart: always"))
    assert run.wait() == code, run.text()
    assert run.summary()["exit_code"] == code
    assert run.summary()["nodes"]["recorder"]["restarts"] == 0


def test_an_optional_node_may_fail_before_and_while_running(start: Callable[..., Any]) -> None:
    run = start("""
        nodes:
          viewer: {kind: viewer, inputs: [robot], required: false, params: {fail_after: 3}}
          predictor: {kind: predictor, inputs: [robot], required: false, params: {setup_fails: true}}
          robot: {kind: robot, params: {steps: 40}}
    """)
    assert run.wait() == 0, run.text()
    assert "viewer failed with exit code 1" in run.text()
    assert run.summary()["outcome"] == "ended"


def test_ctrl_c_stops_sources_first_and_the_recorder_last(start: Callable[..., Any]) -> None:
    run = start(pair())
    run.says("running 0:")
    pids = run.pids()
    run.signal(signal.SIGINT)
    assert run.wait() == 0, run.text()
    summary = run.summary()
    assert (summary["outcome"], summary["exit_code"]) == ("stopped", 0)
    frames = summary["topics"]["frame/robot"]["recorder"]
    assert frames["published"] == frames["received"] > 0
    run.nobody_left(pids)


def test_ctrl_c_while_starting(start: Callable[..., Any]) -> None:
    run = start(pair(robot="setup_s: 30"), 1, 1)
    run.pid("robot")
    run.pid("recorder")
    run.signal(signal.SIGTERM)
    run.wait()
    assert run.summary()["outcome"] in ("stopped", "lost"), run.text()
    run.nobody_left(run.pids())


def test_ctrl_c_twice_is_at_once(start: Callable[..., Any]) -> None:
    run = start(pair(recorder="ignore_stop: true"))
    run.says("running 0:")
    pids = run.pids()
    run.signal(signal.SIGINT)
    run.says("stopping")
    run.signal(signal.SIGINT)
    assert run.process.wait(5) == 3
    assert run.summary()["outcome"] == "lost"
    run.nobody_left(pids)


def test_who_does_not_stop_is_ended_and_named(start: Callable[..., Any]) -> None:
    run = start(pair(recorder="ignore_stop: true"), 1, 1)
    run.says("running 0:")
    pids = run.pids()
    run.signal(signal.SIGINT)
    assert run.wait() == 3, run.text()
    assert "recorder has not stopped within 1 s: terminating it" in run.text()
    assert "recorder did not end when told to: killing it" in run.text()
    assert run.summary()["nodes"]["recorder"]["exit_codes"] == [-9]
    assert any("recorder did not stop" in note for note in run.summary()["notes"])
    run.nobody_left(pids)


def test_a_node_that_never_speaks_has_failed(start: Callable[..., Any]) -> None:
    run = start(pair(robot="mute: true", robot_spec="start_s: 2"), 1, 1)
    assert run.wait() == 1, run.text()
    assert "ALARM: robot is not set up after 2 s: ending it" in run.text()
    assert run.summary()["nodes"]["robot"]["troubles"] == {"starting": 1}


def test_a_slow_start_is_waited_for(start: Callable[..., Any]) -> None:
    run = start(pair(robot="steps: 3", recorder="setup_s: 4", recorder_spec="hang_s: 3"))
    assert run.wait() == 0, run.text()
    assert run.summary()["nodes"]["recorder"]["troubles"] == {}


def test_grandchildren_end_with_their_node(start: Callable[..., Any]) -> None:
    run = start(pair(robot="grandchild: true"))
    run.says("running 0:")
    grandchild = run.pid("robot", "grandchild")
    assert psutil.pid_exists(grandchild)
    run.signal(signal.SIGINT)
    assert run.wait() == 0, run.text()
    run.nobody_left([grandchild])


def test_kill_9_of_the_launcher_leaves_nobody(start: Callable[..., Any]) -> None:
    """Neither a node that does not stop nor what a node has started."""
    run = start(pair(robot="grandchild: true", recorder="ignore_stop: true"))
    run.says("running 0:")
    pids = [*run.pids(), run.pid("robot", "grandchild")]
    assert len(pids) == 3
    run.signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    run.nobody_left(pids)


def test_alarms_and_warnings_are_shown(start: Callable[..., Any]) -> None:
    run = start(pair(robot="steps: 30, alarm: the camera is lost"))
    assert run.wait() == 0, run.text()
    assert "robot: the camera is lost" in run.text()


def test_tcp(start: Callable[..., Any]) -> None:
    run = start("transport: tcp\n" + pair(robot="steps: 5"))
    assert run.wait() == 0, run.text()


def test_after_holds_a_start_back(start: Callable[..., Any]) -> None:
    run = start("""
        nodes:
          robot: {kind: robot, params: {steps: 5}, after: [predictor]}
          predictor: {kind: predictor, params: {setup_s: 1}}
    """)
    run.pid("predictor")
    assert not (run.path / "logs" / "robot.pid").exists()
    assert run.wait() == 0, run.text()


def test_children_do_not_see_pythonpath(start: Callable[..., Any], tmp_path: Any) -> None:
    run = start(pair(robot="steps: 40"), env={"PYTHONPATH": str(tmp_path)})
    environ = psutil.Process(run.pid("robot")).environ()
    assert "PYTHONPATH" not in environ
    assert environ["TODDLE_PARENT_PID"] == str(run.process.pid)
    assert run.wait() == 0, run.text()


def test_keys_of_a_terminal(start: Callable[..., Any], wait: Callable[..., Any]) -> None:
    here, there = os.openpty()
    try:
        run = start(pair(), env={"STARTER_TTY": os.ttyname(there), "TERM": "xterm"})
        seen = bytearray()

        def shows(text: str) -> bool:
            while select.select([here], [], [], 0)[0]:
                seen.extend(os.read(here, 65536))
            return text.encode() in seen

        wait(lambda: shows("running 0:"), "the run")
        assert shows("space pause/go on")
        os.write(here, b" ")
        wait(lambda: shows("paused"), "the robot to pause")
        os.write(here, b"m")
        wait(lambda: shows("unknown command 'mark'"), "a refusal on the screen")
        os.write(here, b"q")
        wait(lambda: shows("stopped after") and run.process.poll() is not None, "the end")
        assert run.wait() == 0
        assert termios.tcgetattr(there)[3] & termios.ECHO, "the terminal is given back as it was"
    finally:
        os.close(here)
        os.close(there)


def test_a_reader_that_goes_away_does_not_end_the_run(write: Callable[..., Any], tmp_path: Any) -> None:
    starter = Path(__file__).with_name("starter.py")
    argv = [sys.executable, str(starter), str(write(pair(robot="steps: 20"))), str(tmp_path), "r"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read()
    assert process.wait(60) == 0, said
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["outcome"] == "ended"


def test_a_python_that_is_not_there(tmp_path: Any) -> None:
    from launch import run
    from launch.screen import Terminal

    file = tmp_path / "g.yaml"
    file.write_text("nodes: {robot: {kind: robot, python: /nowhere/python}}")
    out = io.StringIO()
    code = run.run(run.Options(file=file, runs=str(tmp_path), name="r"), run.Hooks(), Terminal(file=out))
    assert code == 2
    assert f"{file}: cannot start robot (/nowhere/python): No such file or directory" in out.getvalue()
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["outcome"] == "failed"
