"""A robot whose predictor is stopped, or killed: safe while nobody commands it, and on its way again after."""

import signal
from pathlib import Path
from typing import Any

import psutil

from storage.reader import SessionReader

from .conftest import PROJECT, SMALL, Bench, Run, check_law, gone, wait_for

PACED = {"options": SMALL, "timing": "paced", "rate_hz": 50, "silence_s": 0.5, "viewer": False}


def _robot(run: Run, name: str) -> int:
    """One of the robot's own counts, as the recorder has it by now."""
    session = run.folder / "sessions" / run.name
    with SessionReader(session) as reader:
        values = [m.body.values for m in reader.topic_messages("metrics") if m.envelope.source == "robot"]
    return int(values[-1].get(name, 0)) if values else 0


def test_a_robot_whose_predictor_is_gone_is_safe_and_goes_on_when_it_is_back(bench: Bench) -> None:
    run = bench.launch("run.yaml", "alone", **PACED)
    run.running()
    wait_for(lambda: run.status("robot").get("last_seq", {}).get("action/robot", 0) > 20, "it moves")

    predictor = run.node("predictor")
    assert predictor is not None
    predictor.send_signal(signal.SIGSTOP)
    wait_for(lambda: predictor.status() == psutil.STATUS_STOPPED, "the predictor is stopped")
    wait_for(lambda: _robot(run, "silent") == 1, "silence")
    predictor.send_signal(signal.SIGCONT)
    moved = run.status("robot")["last_seq"]["action/robot"]
    wait_for(lambda: run.status("robot").get("last_seq", {}).get("action/robot", 0) > moved + 20, "it moves again")

    predictor.send_signal(signal.SIGKILL)
    wait_for(lambda: _robot(run, "silent") == 2, "silence again")
    wait_for(lambda: (back := run.node("predictor")) and back.pid != predictor.pid, "the predictor is back")
    moved = run.status("robot")["last_seq"]["action/robot"]
    wait_for(lambda: run.status("robot").get("last_seq", {}).get("action/robot", 0) > moved + 20, "it moves again")

    assert run.ask("robot", "halt") == {}
    wait_for(lambda: run.status("robot").get("state") == "paused", "it is halted")
    run.interrupt()
    code, output, summary = run.end()
    assert code in (0, 3), output
    check_law(summary, lost=True)
    assert summary["nodes"]["predictor"]["exit_codes"][0] == -signal.SIGKILL
    assert "ALARM: robot: no valid command for 0.5 s" in output and "OVER: robot: commands come again" in output
    assert "safety    " in output and "halted by a person 1 x" in output
    _check_record(bench.folder / "sessions" / "alone")


def _check_record(session: Path) -> None:
    """What the log says: alarms on and off in turn, a safe action in every silence, and no other while it lasted."""
    silent, silences, safe_ones = False, 0, 0
    control: list[str] = []
    with SessionReader(session) as reader:
        for message in reader.events(kinds=("alarm", "action", "control")):
            body: Any = message.body
            if message.topic == "alarm/robot" and body.name == "silent":
                assert body.active != silent
                silent, silences, safe_ones = body.active, silences + body.active, 0
            elif message.kind == "action" and silent:
                safe_ones += body.safe
                assert body.safe and safe_ones <= 2, "in silence the safe action (a late step may just have begun), then nothing"
            elif message.topic == "control/robot":
                control.append(body.command)
    assert silences >= 2
    assert control[-1] in ("halt", "stop") and "halt" in control


def test_a_killed_launcher_leaves_the_robot_stopped(bench: Bench) -> None:
    (bench.folder / "wheels.py").write_text((PROJECT / "tests" / "nodes" / "drivers_for_tests.py").read_text())
    told = bench.folder / "told"
    (bench.folder / "wheels.yaml").write_text(f"""
nodes:
  predictor: {{kind: predictor, inputs: [robot], params: {{model: none}}}}
  robot: {{kind: robot, inputs: [predictor], params: {{driver: "wheels:Wheels", timing: paced, rate_hz: 50, options: {{note: "{told}"}}}}}}
""")
    run = bench.launch_own("wheels.yaml", "wheels")
    wait_for(lambda: told.exists() and told.read_text().count("go") > 20, "it moves")
    robot = run.node("robot")
    assert robot is not None
    run.process.send_signal(signal.SIGKILL)
    assert run.process.wait(30) == -signal.SIGKILL
    wait_for(lambda: gone(robot), "the robot's node is gone")
    assert told.read_text().split()[-2:] == ["stop", "close"]
