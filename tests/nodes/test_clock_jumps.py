"""The wall clock jumps by an hour in the middle of a run: nobody is confused, and the record says so."""

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nodes.health import Health
from nodes.predictor.config import PredictorConfig
from nodes.predictor.node import PredictorNode
from nodes.recorder.config import RecorderConfig
from nodes.recorder.core import RecorderCore, open_writer
from nodes.robot.config import RobotConfig
from nodes.robot.node import RobotNode
from nodes.timeline import Timeline
from nodes.viewer.playback import LONGEST_PAUSE_S
from protocol import messages as m
from protocol.bus import Bus
from protocol.control import ControlRequest
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring
from storage.reader import SessionReader
from storage.verify import verify
from storage.writer import SessionWriter
from toddle.sessions.command import sessions

HOUR_S = 3600
NAMES = {"robot": "robot", "pred": "predictor", "rec": "recorder"}
HEARS = {"robot": ["pred"], "pred": ["robot"], "rec": ["robot", "pred"]}


class Jumping:
    """The machine's clocks, the wall clock `ahead_s` of the truth."""

    ahead_s = 0

    def wall_ns(self) -> int:
        return time.time_ns() + self.ahead_s * 10**9

    def mono_ns(self) -> int:
        return time.monotonic_ns()


class Graph:
    """A robot, a predictor and a recorder on real buses in this process, one thing at a time."""

    def __init__(self, folder: Path) -> None:
        self.clock = Jumping()
        self.begun = False
        ends = {name: Endpoints(*(f"ipc://{folder}/{name}.{lane}" for lane in "lrc")) for name in NAMES}
        peers = {name: Peer(name, kind, ends[name]) for name, kind in NAMES.items()}
        self.buses = {}
        for name, kind in NAMES.items():
            hearers = [Subscriber(other, NAMES[other]) for other, heard in HEARS.items() if name in heard]
            wiring = Wiring(
                run="t", run_dir=str(folder), name=name, kind=kind, endpoints=ends[name],
                inputs=[peers[other] for other in HEARS[name]], subscribers=hearers,
            )  # fmt: skip
            self.buses[name] = Bus(wiring, self.clock)
        robot = RobotConfig(rate_hz=0.0, silence_s=30.0, options={"size": 16, "radius": 2, "step": 5, "probe_states": 2})
        self.robot = RobotNode(self.buses["robot"].wiring, robot, self.buses["robot"])
        self.predictor = PredictorNode(self.buses["pred"].wiring, PredictorConfig(model="none"), self.buses["pred"])
        self.health = Health(self.robot)
        self.recorder = RecorderCore(open_writer(folder / "walk", RecorderConfig(min_free_gb=0)), RecorderConfig(min_free_gb=0))
        for bus in self.buses.values():
            bus.start()
            bus.subscribe()
        self.robot.setup()
        self.predictor.setup()

    def go(self) -> None:
        self.begun = True
        self.robot.go()

    def turn(self) -> bool:
        """Everybody once; always true."""
        self.health.look(time.monotonic())
        for node in (self.robot, self.predictor):
            if self.begun:
                node.tick()
            while (thing := node.bus.next(0.001)) is not None:
                if isinstance(thing, m.Message):
                    getattr(node, f"on_{thing.kind}", lambda _: None)(thing)
        while (thing := self.buses["rec"].next(0.001)) is not None:
            if not isinstance(thing, ControlRequest):
                self.recorder.handle(thing)
        return True

    def close(self) -> None:
        self.robot.watchdog.finish()
        for bus in self.buses.values():
            bus.abandon()
            bus.close(drain_s=0)


@pytest.fixture
def graph(short_folder: Path) -> Iterator[Graph]:
    made = Graph(short_folder)
    yield made
    made.close()


@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S])
def test_a_run_goes_on_through_a_jump(graph: Graph, wait: Callable[..., Any], short_folder: Path, jump_s: int) -> None:
    wait(lambda: graph.turn() and not any(bus.status().missing for bus in graph.buses.values()), "everybody to be heard")
    graph.go()
    wait(lambda: graph.turn() and graph.robot.progress.steps >= 20, "steps")
    wait(lambda: graph.robot.tick() is not None and graph.robot.phase == "act", "a frame to be under way")
    graph.clock.ahead_s = jump_s
    wait(lambda: graph.turn() and graph.robot.progress.steps >= 40, "steps after the jump")
    beats = graph.buses["pred"].status().last_seq["status/pred"]
    wait(lambda: graph.turn() and graph.buses["pred"].status().last_seq["status/pred"] > beats, "a heartbeat after it")
    wait(lambda: graph.turn() and graph.recorder.recorded.get("status/pred", 0) > beats + 1, "it to be recorded")
    wait(lambda: graph.turn() and graph.recorder.recorded.get("alarm/robot"), "the alarm")
    assert graph.robot.gate.refused == {}, "no command is too old, or not old enough"
    assert (graph.robot.late, graph.robot.watchdog.counts["silent"]) == (0, 0)
    graph.recorder.finish()
    report = verify(short_folder / "walk")
    assert (report.verdict, report.gaps) == ("ok", [])
    with SessionReader(short_folder / "walk") as reader:
        info = reader.info()
        messages = list(reader.events())
    _check_order(messages)
    alarms = [(one.body.name, one.body.text) for one in messages if one.kind == "alarm"]
    assert [name for name, _ in alarms] == ["clock_jump"]
    assert f"jumped by {jump_s:+}"[:-2] in alarms[0][1], "its size in words"
    assert 0 < info.duration_s < 600
    assert all(0 <= row.rate_hz < 1e6 for row in info.topics.values())
    assert {jump.source for jump in info.clock_jumps} == {"robot", "pred"}
    assert all(jump.jump_s == pytest.approx(jump_s, abs=5) for jump in info.clock_jumps)
    said = CliRunner().invoke(sessions, ["info", str(short_folder / "walk")]).output
    assert f"clock     of robot jumped 1:00:00 {'ahead' if jump_s > 0 else 'back'}" in said


def _check_order(messages: list[m.Message]) -> None:
    last: dict[str, tuple[int, int]] = {}
    for message in messages:
        envelope = message.envelope
        seq, mono_ns = last.get(message.topic, (-1, 0))
        assert envelope.seq == seq + 1
        assert envelope.mono_ns >= mono_ns
        last[message.topic] = envelope.seq, envelope.mono_ns
        if message.kind == "action":
            assert 0 <= message.body.end_ns - message.body.start_ns < 600 * 10**9
    steps = [one.envelope.step for one in messages if one.kind == "frame"]
    assert steps == sorted(steps)
    shown = [(timeline.at(one.envelope, LONGEST_PAUSE_S)) for timeline in [Timeline()] for one in messages]
    assert all(0 <= after - before <= LONGEST_PAUSE_S for before, after in pairwise(shown))
    assert shown[-1] < 600, "a film of it lasts as long as the run did"


def test_a_pause_of_a_recording_is_cut_and_all_go_on_together() -> None:
    timeline = Timeline()

    def at(run: str, mono_s: float) -> float:
        envelope = m.Envelope(topic="metrics/x", source="x", run=run, seq=0, t_ns=0, mono_ns=int(mono_s * 1e9))
        return round(timeline.at(envelope, LONGEST_PAUSE_S), 6)

    assert [at("a", 5.0), at("b", 900.0), at("a", 5.5), at("b", 900.25)] == [0.0, 0.0, 0.5, 0.5]
    assert [at("a", 105.5), at("b", 1000.25), at("a", 105.75), at("b", 1000.5)] == [2.5, 2.5, 2.75, 2.75]
    assert at("a", 50.0) == 2.75, "sent again"


def test_a_jump_is_seen_by_whoever_writes_on_and_drift_is_none(tmp_path: Path) -> None:
    def metrics(seq: int, wall_s: float, mono_s: float) -> m.Message:
        envelope = m.Envelope(topic="metrics/r", source="r", run="q", seq=seq, t_ns=int(wall_s * 1e9), mono_ns=int(mono_s * 1e9))
        return m.Message(envelope=envelope, body=m.Metrics(values={}))

    with SessionWriter.create(tmp_path / "walk") as writer:
        for seq in range(5):
            writer.append(metrics(seq, 1000 + seq * 1.01, seq))
    with SessionWriter.create(tmp_path / "walk", resume=True) as writer:
        writer.append(metrics(5, 995.0, 5))
        writer.append(metrics(6, 996.0, 6))
    with SessionReader(tmp_path / "walk") as reader:
        jumps = reader.info().clock_jumps
        assert [(jump.source, round(jump.jump_s, 2)) for jump in jumps] == [("r", -10.04)]
        assert reader.info().duration_s == 6.0
        assert reader.event_at(0) == 5, "by the clock as it was"
