"""The motors stop, on the server's side: whatever becomes of the link, of the driver's process, of the graph."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.live.conftest import PROJECT, Bench, Run, gone, wait_for
from tests.live.relay import Relay

from .conftest import WATCHDOG_S, Server
from .drive import ACTIONS

GONE = "its client has gone"
SILENT = f"no call of its client for {WATCHDOG_S:g} s"


class Driving(threading.Thread):
    """A driver at a long action, in a thread of its own."""

    def __init__(self, driver: Any) -> None:
        super().__init__(daemon=True)
        self.driver, self.done = driver, None
        self.start()

    def run(self) -> None:
        self.done = self.driver.execute(ACTIONS[1])


@pytest.mark.parametrize(("trial", "how"), [*enumerate(["cut", "cut", "stall", "cut", "cut"])])
def test_motors_stop_when_the_link_fails(trial: int, how: Any, server: Server, relay: Relay, robot: Callable[..., Any]) -> None:
    """As its bench counts 100 times: a link that is cut, and one that goes silent. What that held back moves nothing later."""
    driving = Driving(robot(relay.port, actions=ACTIONS, call_timeout_s=20))
    server.wait_moving()
    relay.set(how)
    _, _, stood_s, why, *_ = server.wait_stopped()
    assert why == {"cut": GONE, "stall": SILENT}[how]
    if how == "stall":
        wait_for(lambda: relay.held > 0, "a command is held back")
    relay.set("pass")
    driving.join(20)
    assert driving.done is False
    assert driving.driver.observe().images and driving.driver.counts()["reconnects"] == 1
    assert server.status()[:4] == (0, 0, stood_s, why)


def test_motors_stop_when_answers_are_lost(server: Server, relay: Relay, robot: Callable[..., Any]) -> None:
    """The server hears everything: the driver, which hears nothing, says nothing more and breaks off."""
    driving = Driving(robot(relay.port, actions=ACTIONS))
    server.wait_moving()
    relay.set("half_open")
    assert server.wait_stopped()[3] in (GONE, SILENT)
    driving.join(20)
    assert driving.done is False


def test_stop_does_not_wait_behind_a_call_that_hangs(server: Server, relay: Relay, robot: Callable[..., Any]) -> None:
    """A link that goes silent while a call is under way: stop breaks it off, and comes back when the robot stands."""
    driver = robot(relay.port, actions=ACTIONS, call_timeout_s=0.3)
    driving = Driving(driver)
    server.wait_moving()
    relay.set("stall")
    driver.stop()
    assert server.status()[:2] == (0, 0)
    driving.join(20)
    assert driving.done is False and driver.counts()["stops_unheard"] >= 0


@pytest.fixture
def process(server: Server) -> Iterator[psutil.Process]:
    """A process of its own that drives."""
    drive = Path(__file__).with_name("drive.py")
    started = subprocess.Popen([sys.executable, str(drive), str(server.port)], env={**os.environ, "PYTHONPATH": str(PROJECT)})
    server.wait_moving()
    yield psutil.Process(started.pid)
    started.kill()
    started.wait()


@pytest.mark.slow
def test_motors_stop_when_the_drivers_process_hangs(server: Server, process: psutil.Process) -> None:
    process.suspend()
    assert server.wait_stopped()[3] == SILENT
    process.kill()
    assert process.wait(20) == -signal.SIGKILL


def test_motors_stop_when_the_drivers_process_is_killed(server: Server, process: psutil.Process) -> None:
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    assert server.wait_stopped()[3] == GONE


@pytest.fixture
def bench(tmp_path: Any) -> Iterator[Bench]:
    made = Bench(tmp_path, [])
    yield made
    made.end()


def _moves_again(server: Server, run: Run) -> None:
    moved = run.status("robot").get("last_seq", {}).get("action/robot", 0)
    wait_for(lambda: run.status("robot").get("last_seq", {}).get("action/robot", 0) > moved + 3, "it acts")
    server.wait_moving()


@pytest.mark.slow
def test_a_graph_that_drives_it_stops_it(server: Server, relay: Relay, bench: Bench) -> None:
    """The predictor killed, the halt key, a link that goes silent, the launcher killed."""
    actions = [{**action, "duration": 0.3} for action in ({"motor_left": 0, "motor_right": 0}, {"motor_left": 0.2, "motor_right": 0.2})]
    options = {"host": "127.0.0.1", "port": relay.port, "actions": actions}
    run = bench.launch("run.yaml", "wheels", driver="jetbot", options=options, rate_hz=0, viewer=False, selector="constant",
                       selector_options={"index": 1}, episode_steps=0)  # fmt: skip
    run.running()
    _moves_again(server, run)

    predictor = run.node("predictor")
    assert predictor is not None
    predictor.send_signal(signal.SIGKILL)
    wait_for(lambda: (back := run.node("predictor")) and back.pid != predictor.pid, "the predictor is back")
    _moves_again(server, run)

    relay.set("stall")
    server.wait_stopped()
    relay.set("pass")
    _moves_again(server, run)

    assert run.ask("robot", "halt") == {}
    stood_s = server.wait_stopped()[2]
    assert run.status("robot")["state"] == "paused"
    assert run.ask("robot", "resume") == {}
    server.wait_moving()
    assert server.status()[2] > stood_s

    robot = run.node("robot")
    assert robot is not None
    run.process.kill()
    assert run.process.wait(20) == -signal.SIGKILL
    wait_for(lambda: gone(robot), "the robot's node has ended")
    assert server.wait_stopped()[2] <= time.monotonic()
