"""A robot node in its own process, its driver hanging, its ring full, its launcher killed: it is stopped all the same."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol import messages as m
from protocol.bus import Bus
from protocol.errors import ControlError
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


class Robot:
    """A robot process, and a bus beside it that commands it and one that looks at it."""

    def __init__(self, folder: Path, wait: Callable[..., Any], recorder: bool, options: dict[str, Any], config: dict[str, Any]) -> None:
        self.folder, self.wait = folder, wait
        self.ends = {name: Endpoints(*(f"ipc://{folder}/{name}.{lane}" for lane in "lrc")) for name in ("robot", "pred", "view")}
        self.note = folder / "told"
        self.note.touch()
        params = {
            "driver": "drivers_for_tests:Wheels", "timing": "paced", "rate_hz": 30.0, "silence_s": 0.3,
            "options": {"note": str(self.note), **options}, **config,
        }  # fmt: skip
        subscribers = [Subscriber("pred", "predictor"), *([Subscriber("recorder", "recorder")] if recorder else [])]
        inputs = [Peer("pred", "predictor", self.ends["pred"])]
        wiring = self._wiring("robot", "robot", params=params, subscribers=subscribers, inputs=inputs, ring_bytes=20_000)
        wiring.write(folder / "robot.json")
        here = Peer("robot", "robot", self.ends["robot"])
        self.pred = Bus(self._wiring("pred", "predictor", inputs=[here], subscribers=[Subscriber("robot", "robot")]))
        self.view = Bus(self._wiring("view", "viewer", inputs=[here]))
        for bus in (self.pred, self.view):
            bus.start()
            bus.subscribe()
        self.alarms: list[tuple[str, bool]] = []
        self.status: m.Status | None = None
        env = {**os.environ, "PYTHONPATH": f"{ROOT}:{HERE}"}
        argv = [sys.executable, "-m", "nodes.robot", str(folder / "robot.json")]
        self.process = subprocess.Popen(argv, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True)

    def _wiring(self, name: str, kind: str, **fields: Any) -> Wiring:
        return Wiring(run="t", run_dir=str(self.folder), name=name, kind=kind, endpoints=self.ends[name], **fields)

    def begin(self) -> None:
        self.until(lambda: self.status is not None and (self.status.state == "ready" or bool(self.status.missing)), "the node")
        self.view.request("robot", "go", {}, 20.0)

    def until(self, condition: Callable[[], Any], what: str, command: bool = False) -> None:
        """Look at what comes until this is true; with `command` every frame is answered."""

        def looked() -> Any:
            thing = self.pred.next(0.01)
            if command and isinstance(thing, m.Message) and thing.kind == "frame":
                self.command(thing)
            seen = self.view.next(0.0)
            if isinstance(seen, m.Message) and isinstance(seen.body, m.Alarm):
                self.alarms.append((seen.body.name, seen.body.active))
            elif isinstance(seen, m.Message) and isinstance(seen.body, m.Status):
                self.status = seen.body
            return condition()

        self.wait(looked, what)

    def command(self, frame: m.Message) -> None:
        envelope = frame.envelope
        body = m.Command(action={"pan": 0.5}, by="test", deadline_mono_ns=envelope.mono_ns + 2 * 10**9)
        self.pred.publish("command", body, episode=envelope.episode, step=envelope.step)

    def told(self) -> list[str]:
        return self.note.read_text().split("\n")[:-1]

    def halt(self) -> None:
        assert self.view.request("robot", "halt", {}, 5.0) == {}

    def ends_with(self) -> int:
        self.process.communicate(timeout=30)
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        for bus in (self.pred, self.view):
            bus.abandon()
            bus.close(drain_s=0)


@pytest.fixture
def robot(short_folder: Path, wait: Callable[..., Any]) -> Iterator[Callable[..., Robot]]:
    made: list[Robot] = []

    def make(recorder: bool = False, options: dict[str, Any] | None = None, **config: Any) -> Robot:
        made.append(Robot(short_folder, wait, recorder, options or {}, config))
        made[-1].begin()
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_halt_overtakes_what_waits_and_holds_while_commands_go_on(robot: Callable[..., Robot]) -> None:
    made = robot()
    made.until(lambda: made.told().count("go 0.5") > 5, "it moves", command=True)
    made.halt()
    told = made.told()
    assert told[-1] == "stop"
    made.until(lambda: ("halted", True) in made.alarms and made.status and made.status.state == "paused", "it says so", command=True)
    assert made.status is not None
    assert "halted by view" in made.status.detail
    with pytest.raises(ControlError, match="halted; resume it first"):
        made.view.request("robot", "reset", {}, 5.0)
    frames = made.status.last_seq["frame/robot"]
    made.until(lambda: made.status and made.status.last_seq["control/robot"] >= 1, "go and halt are on the record", command=True)
    assert "go 0.5" not in made.told()[len(told) :], "nothing moves"
    assert made.status.last_seq["frame/robot"] <= frames + 1
    made.view.request("robot", "resume", {}, 5.0)
    made.until(lambda: made.told()[-1] == "go 0.5", "it goes on", command=True)
    made.until(lambda: ("halted", False) in made.alarms, "the alarm is over", command=True)
    made.view.request("robot", "stop", {}, 5.0)
    assert made.ends_with() == 0
    assert made.told()[-2:] == ["stop", "close"]


def test_a_robot_that_waits_for_room_in_its_ring_is_stopped_and_can_be_halted(robot: Callable[..., Robot]) -> None:
    """Nobody takes what it publishes on the reliable lane, and its policy is to wait."""
    made = robot(recorder=True)
    made.until(lambda: ("stuck", True) in made.alarms, "its own watchdog says that it hangs", command=True)
    assert made.told()[-1] == "stop"
    count = len(made.told())
    made.halt()
    made.until(lambda: ("halted", True) in made.alarms and made.status and made.status.state == "paused", "it says so")
    assert made.told()[count:] == ["stop"]
    made.process.send_signal(signal.SIGTERM)
    assert made.ends_with() in (0, 3)
    assert made.told()[-2:] == ["stop", "close"]


@pytest.mark.parametrize("method", ["execute", "observe"])
def test_a_driver_that_hangs_is_stopped_from_outside(robot: Callable[..., Robot], method: str) -> None:
    made = robot(options={"blocks": method, "after": 10, "heeds_stop": False})
    made.until(lambda: ("stuck", True) in made.alarms, "its watchdog says that it hangs", command=True)
    assert made.told()[-1] == "stop"
    stops = made.told().count("stop")
    made.halt()
    assert made.told().count("stop") > stops
    stops = made.told().count("stop")
    made.process.send_signal(signal.SIGTERM)
    made.until(lambda: made.told().count("stop") > stops, "it is stopped once more")
    assert made.process.poll() is None, "and still hangs"


def test_an_action_that_heeds_stop_returns_early_and_the_robot_goes_on(robot: Callable[..., Robot]) -> None:
    made = robot(options={"blocks": "execute", "after": 10}, max_action_s=0.2)
    made.until(lambda: ("stuck", False) in made.alarms, "it hangs and goes on", command=True)
    assert [on for name, on in made.alarms if name == "stuck"][:2] == [True, False]
    assert "stop" in made.told()


def test_commands_that_stop_coming_stop_the_robot_and_bring_it_back(robot: Callable[..., Robot]) -> None:
    made = robot()
    made.until(lambda: made.told().count("go 0.5") > 5, "it moves", command=True)
    made.until(lambda: ("silent", True) in made.alarms, "silence")

    def safe() -> bool:
        """Both of its threads say stop, in either order."""
        told = made.told()
        return told[-1] == "stop" and [said for said in told if said != "stop"][-1] == "go 0"

    made.until(safe, "the safe action, and stop")
    count = len(made.told())
    made.until(lambda: ("silent", False) in made.alarms, "commands are heard again", command=True)
    made.until(lambda: "go 0.5" in made.told()[count:], "it moves again", command=True)
    made.process.send_signal(signal.SIGTERM)  # what the kernel sends a child whose launcher is gone
    assert made.ends_with() == 0
    assert made.told()[-2:] == ["stop", "close"]


def test_an_exception_in_the_driver_leaves_it_stopped(robot: Callable[..., Robot]) -> None:
    made = robot(driver="drivers_for_tests:WheelsThatBreak")
    assert made.ends_with() == 1
    assert made.told()[-2:] == ["stop", "close"]
