"""The robot on one host, the rest on another, over a cable: two network namespaces, the real command on each."""

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from .two_hosts import Launcher, TwoHosts, wait_for

NO_NAMESPACES = "no network namespaces"  # conftest.py of the project excuses it


@pytest.fixture
def two(tmp_path: Path) -> Iterator[TwoHosts]:
    """Both hosts; the test is skipped, with the reason, where they cannot be made."""
    if sys.platform != "linux":
        pytest.skip(f"{NO_NAMESPACES} but on Linux")
    if not (shutil.which("ip") and shutil.which("nsenter")):
        pytest.skip("commands ip and nsenter are missing: install iproute2 and util-linux")
    try:
        made = TwoHosts(tmp_path)
    except OSError as error:
        pytest.skip(f"{NO_NAMESPACES} here: {error}")
    yield made
    made.close()


def _introduce(two: TwoHosts) -> None:
    robot, gpu = two.hosts
    robot.allow("gpu-pc", gpu.key)
    gpu.allow("robot-pc", robot.key)


def _start(two: TwoHosts) -> list[Launcher]:
    made = [host.launch(two.file) for host in two.hosts]
    for launcher in made:
        launcher.says("running ")
    return made


def _moves(launcher: Launcher) -> None:
    """Fifty more frames."""
    before = launcher.frames()
    wait_for(lambda: launcher.frames() > before + 50, "the robot moves")


def _summary(launcher: Launcher) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((launcher.host.run / "summary.json").read_bytes())
    return found


def _ended_well(two: TwoHosts, launchers: list[Launcher]) -> None:
    """Both launchers have ended; nothing is lost, the books balance, the session is whole."""
    assert [launcher.wait() for launcher in launchers] == [0, 0], "\n".join(launcher.text() for launcher in launchers)
    for launcher in launchers:
        for topic, subscribers in _summary(launcher)["topics"].items():
            for name, count in subscribers.items():
                assert count["published"] == count["received"] + count["skipped"] + count["lost"], (topic, name, count)
                assert count["lost"] == 0, (topic, name, count)
    gpu = _summary(launchers[1])
    assert set(gpu["nodes"]) == {"recorder", "predictor"} and set(_summary(launchers[0])["nodes"]) == {"robot"}
    assert gpu["topics"]["frame/robot"]["recorder"]["received"] > 50
    verified = two.hosts[1].toddle("sessions", "verify", "r")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_two_hosts_learn_nothing_is_lost_and_a_cut_cable_leaves_the_robot_safe(two: TwoHosts) -> None:
    _introduce(two)
    robot, gpu = _start(two)
    _moves(robot)
    two.cable("down")
    robot.says("ALARM: robot: no valid command for 1 s: the robot is stopped")
    two.cable("up")
    robot.says("robot: commands come again")
    _moves(gpu)
    gpu.interrupt()
    assert "host gpu-pc: Ctrl-C" in robot.says("stopping")
    _ended_well(two, [robot, gpu])
    assert [alarm["name"] for alarm in _summary(robot)["alarms"]].count("silent") == 1


@pytest.mark.slow
def test_a_wrong_key_is_told_in_one_line_and_nothing_starts(two: TwoHosts) -> None:
    """robot-pc has let in an older key of gpu-pc."""
    robot, gpu = two.hosts
    gpu.allow("robot-pc", robot.key)
    robot.allow("gpu-pc", zmq.curve_keypair()[0].decode())
    launchers = [host.launch(two.file) for host in two.hosts]
    assert gpu.key in launchers[0].says("refused a stranger at 10.77.0.2; if you know it: toddle keys allow NAME")
    assert f"run there: toddle keys allow gpu-pc '{gpu.key}'" in launchers[1].says("does not let 'gpu-pc' in")
    for launcher in launchers:
        assert not psutil.Process(launcher.process.pid).children(), "no node starts before the launchers have met"
        assert "is there" not in launcher.text()
        launcher.interrupt()
    assert [launcher.wait() for launcher in launchers] == [0, 0]


@pytest.mark.slow
def test_a_launcher_that_is_killed_leaves_the_robot_safe_and_may_come_back(two: TwoHosts) -> None:
    _introduce(two)
    robot, gpu = _start(two)
    gpu.process.kill()
    assert gpu.wait() == -signal.SIGKILL
    robot.says("ALARM: robot: no valid command for 1 s: the robot is stopped")
    robot.says("host gpu-pc is silent")
    again = two.hosts[1].launch(two.file, "--resume")
    again.says("running ")
    robot.says("robot: commands come again")
    robot.says("host gpu-pc is heard again")
    _moves(again)
    robot.interrupt()
    _ended_well(two, [robot, again])


@pytest.mark.slow
def test_with_its_launcher_the_robot_ends(two: TwoHosts) -> None:
    _introduce(two)
    robot, gpu = _start(two)
    node = robot.node("robot")
    robot.process.kill()
    assert robot.wait() == -signal.SIGKILL
    wait_for(lambda: not node.is_running() or node.status() == psutil.STATUS_ZOMBIE, "the robot's process has ended")
    gpu.says("host robot-pc is silent")
    again = two.hosts[0].launch(two.file, "--resume")
    again.says("running ")
    _moves(gpu)
    gpu.interrupt()
    _ended_well(two, [again, gpu])
