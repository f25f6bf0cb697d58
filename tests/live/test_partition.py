"""The tcp link to a robot stalls, is cut, or goes deaf on one side: noticed, safe, resumed, and counted to the number."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from protocol import control
from protocol import messages as m
from protocol.bus import Bus
from protocol.ports import free_ports
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring

from .conftest import PROJECT
from .relay import Mode, Relay

LIMIT_S = 60.0
NOTICED_IN = 5
"""Heartbeats: the three that do not come, the one that was on its way, and the one that says so."""
ROBOT = {"driver": "toroidal_dot", "options": {"size": 64, "radius": 2, "step": 5}, "timing": "paced", "rate_hz": 20.0}


def endpoints(ports: list[int]) -> Endpoints:
    return Endpoints(*(f"tcp://127.0.0.1:{port}" for port in ports))


class End:
    """A bus and what it took; `beats` are its own heartbeats, each with the inputs it called silent."""

    def __init__(self, wiring: Wiring) -> None:
        self.bus = Bus(wiring)
        self.took: dict[str, list[m.Message]] = {}
        self.beats: list[list[str]] = []
        beat = self.bus.beat

        def beat_and_tell() -> bool:
            self.beats.append(self.bus.silent())
            return beat()

        self.bus.beat = beat_and_tell  # type: ignore[method-assign]
        self.bus.start()
        self.bus.subscribe()

    def take(self) -> list[m.Message]:
        """Everything that has come."""
        new = []
        while (thing := self.bus.next(0)) is not None:
            if isinstance(thing, m.Message):
                self.took.setdefault(thing.kind, []).append(thing)
                new.append(thing)
        return new

    def numbers(self, kind: str) -> list[int]:
        return [message.envelope.seq for message in self.took.get(kind, [])]


class Partition:
    """A robot process; a recorder beside it; a predictor and a trainer behind the relays."""

    def __init__(self, folder: Path, ring_bytes: int, on_full: Any, silence_s: float | None) -> None:
        ports = free_ports(12)
        robot, predictor, near, far = (endpoints(ports[i : i + 3]) for i in range(0, 12, 3))
        self._control = robot.control
        self.relays = [Relay(port) for port in (*ports[0:2], *ports[3:5])]
        through = [relay.port for relay in self.relays]
        far_robot = Peer("robot", "robot", endpoints([*through[:2], ports[2]]))
        far_predictor = Peer("predictor", "predictor", endpoints([*through[2:], ports[5]]))
        common: dict[str, Any] = {"run": "test", "run_dir": str(folder)}
        everybody = [Subscriber("predictor", "predictor"), Subscriber("near", "recorder"), Subscriber("far", "trainer")]
        wiring = Wiring(
            name="robot", kind="robot", endpoints=robot, inputs=[far_predictor], subscribers=everybody,
            params={**ROBOT, "silence_s": silence_s}, ring_bytes=ring_bytes, on_full=on_full, **common,
        )  # fmt: skip
        wiring.write(folder / "robot.json")
        self.predictor = End(Wiring(
            name="predictor", kind="predictor", endpoints=predictor, inputs=[far_robot],
            subscribers=[Subscriber("robot", "robot")], max_age_s=1e6, **common,
        ))  # fmt: skip
        self.near = End(Wiring(name="near", kind="recorder", endpoints=near, inputs=[Peer("robot", "robot", robot)], **common))
        self.far = End(Wiring(name="far", kind="trainer", endpoints=far, inputs=[far_robot], **common))
        self.process = subprocess.Popen([sys.executable, "-m", "nodes.robot", str(folder / "robot.json")], cwd=PROJECT)

    def set(self, mode: Mode) -> None:
        for relay in self.relays:
            relay.set(mode)

    def ask(self, command: str) -> None:
        """Ask the robot, and go on taking: it may have to wait for us before it answers."""

        def ask() -> None:
            with zmq.Context() as context:
                control.ask(context, self._control, command, {}, "a test", LIMIT_S)

        asking = threading.Thread(target=ask)
        asking.start()
        self.until(lambda: not asking.is_alive(), f"{command} is answered")

    def turn(self) -> None:
        """Everybody takes what is there; the predictor answers every frame."""
        for message in self.predictor.take():
            if message.kind == "frame":
                where = {"episode": message.envelope.episode, "step": message.envelope.step}
                body = m.Command(action={"action": 1.0}, by="test", deadline_mono_ns=message.envelope.mono_ns + 10**9)
                self.predictor.bus.publish("command", body, **where)
        self.near.take()
        self.far.take()

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        end_s = time.monotonic() + LIMIT_S
        pause = threading.Event()
        while not (found := condition()):
            assert time.monotonic() < end_s, f"waited {LIMIT_S:g} s until {what}"
            self.turn()
            pause.wait(0.002)
        return found

    # -- what the robot says, to the recorder beside it --------------------------------------------

    def actions(self) -> list[m.ActionTaken]:
        return [message.body for message in self.near.took.get("action", [])]

    def alarms(self) -> list[tuple[str, bool]]:
        return [(message.body.name, message.body.active) for message in self.near.took.get("alarm", [])]

    def statuses(self) -> list[m.Status]:
        return [message.body for message in self.near.took.get("status", [])]

    def is_obeyed(self) -> None:
        """The robot does what the predictor says."""
        seen = len(self.actions())
        self.until(lambda: any(not action.safe for action in self.actions()[seen:]), "a command is executed")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for relay in self.relays:
            relay.close()
        for end in (self.predictor, self.near, self.far):
            end.bus.abandon()
            end.bus.close(0)


@pytest.fixture
def partition(tmp_path: Path) -> Iterator[Callable[..., Partition]]:
    made: list[Partition] = []

    def make(ring_bytes: int = 256 << 20, on_full: str = "block", silence_s: float | None = None) -> Partition:
        made.append(Partition(tmp_path, ring_bytes, on_full, silence_s))
        made[-1].until(lambda: any(status.state == "ready" for status in made[-1].statuses()), "the robot is ready")
        made[-1].ask("go")
        made[-1].is_obeyed()
        made[-1].until(lambda: made[-1].far.numbers("frame"), "the trainer has a frame")
        return made[-1]

    yield make
    for one in made:
        one.close()


def _break(link: Partition, mode: Mode) -> None:
    """The link breaks, and all three that it concerns notice in time; the robot does what is safe."""
    beats = {end: len(end.beats) for end in (link.predictor, link.far)}
    statuses = len(link.statuses())
    link.set(mode)
    link.until(lambda: ("silent_predictor", True) in link.alarms(), "the robot raises the alarm")
    link.until(lambda: all("robot" in end.beats[-1] for end in beats), "both behind the relay notice")
    link.until(lambda: any(status.silent for status in link.statuses()[statuses:]), "the robot's heartbeat says so")
    assert [status.silent for status in link.statuses()[statuses : statuses + NOTICED_IN]][-1] == ["predictor"]
    for end, before in beats.items():
        assert any("robot" in silent for silent in end.beats[before : before + NOTICED_IN]), end.beats[before:]
    assert link.actions()[-1].safe, "nobody commands, so it does what is safe"
    seen, told = len(link.actions()), len(link.statuses())
    link.until(lambda: len(link.statuses()) >= told + 2, "two more heartbeats")
    assert all(action.safe for action in link.actions()[seen:]), "and nothing else"


def _resume(link: Partition) -> None:
    link.set("pass")
    link.until(lambda: ("silent_predictor", False) in link.alarms(), "the alarm is over")
    link.is_obeyed()
    link.until(lambda: not link.predictor.bus.silent() and not link.far.bus.silent(), "all are heard again")
    newest = link.near.numbers("frame")[-1]
    link.until(lambda: link.far.numbers("frame")[-1] > newest, "the trainer has caught up")


def _end(link: Partition) -> None:
    """The robot stops, everybody has heard all of it, and the books are right."""
    link.ask("stop")
    link.until(lambda: link.process.poll() is not None, "the robot has ended")
    link.until(lambda: link.near.bus.inputs_ended() and link.far.bus.inputs_ended(), "the last word has come")
    link.turn()
    for end in (link.near, link.far, link.predictor):
        for topic, count in end.bus.status().counts.items():
            assert count.published == count.received + count.skipped + count.lost, (topic, count)
    near = link.near.bus.status().counts
    assert all(count.lost == 0 for count in near.values()), "the link beside it was never touched"
    for topic, count in link.far.bus.status().counts.items():
        assert count.published == near[topic].published
        kind = topic.partition("/")[0]
        missed = sorted(set(link.near.numbers(kind)) - set(link.far.numbers(kind)))
        gaps = [seq for gap in link.far.bus.gaps() if gap.topic == topic for seq in range(gap.first, gap.last + 1)]
        assert gaps == missed and count.lost == len(missed), (topic, count)
        assert link.far.numbers(kind) == sorted(set(link.far.numbers(kind))), "in order, and nothing twice"


@pytest.mark.parametrize("mode", ["stall", "cut", "half_open"])
def test_a_broken_link_is_noticed_and_nothing_is_lost_when_it_is_back(partition: Callable[..., Partition], mode: Mode) -> None:
    link = partition()
    before = sum(relay.connections_made for relay in link.relays)
    _break(link, mode)
    done = {"stall": "held", "cut": "cuts", "half_open": "dropped_bytes"}[mode]
    assert all(getattr(relay, done) > 0 for relay in link.relays), done
    _resume(link)
    if mode != "stall":
        assert sum(relay.connections_made for relay in link.relays) > before, "by new connections"
    _end(link)
    assert link.process.returncode == 0
    assert link.far.bus.gaps() == []


@pytest.mark.parametrize("mode", ["cut", pytest.param("stall", marks=pytest.mark.slow), pytest.param("half_open", marks=pytest.mark.slow)])
def test_what_the_ring_could_not_hold_is_an_exact_gap(partition: Callable[..., Partition], mode: Mode) -> None:
    """A ring of some twenty frames; a robot that goes on, safely, and counts. Everybody else has everything."""
    link = partition(ring_bytes=256 << 10, on_full="count", silence_s=0.0)
    _break(link, mode)
    link.until(lambda: link.near.numbers("frame")[-1] > link.far.numbers("frame")[-1] + 60, "more than the ring holds")
    _resume(link)
    _end(link)
    lost = link.far.bus.status().counts["frame/robot"].lost
    assert lost > 0
    frames = [gap for gap in link.far.bus.gaps() if gap.topic == "frame/robot"]
    sent = {message.envelope.seq: message.envelope.t_ns for message in link.near.took["frame"]}
    for gap in frames:
        assert (gap.after_ns, gap.before_ns) == (sent[gap.first - 1], sent[gap.last + 1]), "the times around it are exact"


@pytest.mark.slow
def test_a_blocked_robot_waits_for_the_link(partition: Callable[..., Partition]) -> None:
    """The same ring in simulation: the robot stands still, beating, and nothing is lost. Silence alone would not stop it."""
    link = partition(ring_bytes=256 << 10, silence_s=0.0)
    link.set("stall")
    link.until(lambda: any(status.silent for status in link.statuses()), "it is noticed")
    link.until(lambda: len(set(_told(link)[-3:])) == 1, "two heartbeats after another the robot has made no frame")
    assert all(relay.held for relay in link.relays)
    stood = _told(link)[-1]
    assert stood > link.far.numbers("frame")[-1], "what it made before is on its way"
    link.set("pass")
    link.is_obeyed()
    link.until(lambda: link.far.numbers("frame")[-1] > stood + 30, "it goes on")
    _end(link)
    assert link.process.returncode == 0
    assert link.far.bus.gaps() == [] and all(count.lost == 0 for count in link.far.bus.status().counts.values())


def _told(link: Partition) -> list[int]:
    """The last frame that each of the robot's heartbeats told of."""
    return [status.last_seq.get("frame/robot", -1) for status in link.statuses()]


@pytest.mark.slow
def test_a_killed_robot_is_noticed_like_a_broken_link(partition: Callable[..., Partition]) -> None:
    link = partition()
    link.process.send_signal(signal.SIGKILL)
    assert link.process.wait(30) == -signal.SIGKILL
    link.until(lambda: all("robot" in end.bus.silent() for end in (link.near, link.far, link.predictor)), "all notice")
    link.far.bus.give_up_inputs()
    assert {tail.topic for tail in link.far.bus.tails()} >= {"frame/robot", "action/robot"}
    last = {tail.topic: tail.last for tail in link.far.bus.tails()}
    assert last["frame/robot"] == link.far.numbers("frame")[-1]
