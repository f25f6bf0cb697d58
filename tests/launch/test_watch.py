"""Starting, hung, silent: three words for a process that lives and does not work; without processes."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from launch.board import Board
from launch.graph import Graph, _settled
from launch.schema import NodeSpec
from launch.stopping import Limits
from launch.watch import Watch, judge
from protocol.messages import Envelope, Message, Status

SPEC = NodeSpec(kind="trainer", start_s=300, hang_s=60)


def status(state: Any = "running", loop_age_s: float = 0.0) -> Status:
    return Status(state=state, kind="trainer", loop_age_s=loop_age_s)


@pytest.mark.parametrize(
    ("said", "quiet_s", "word", "fatal"),
    [
        (None, 200.0, "", False),  # its interpreter starts slowly
        (None, 301.0, "starting", True),
        (status("starting", 61.0), 0.5, "", False),  # loads a model for a minute
        (status("starting", 299.0), 0.5, "", False),
        (status("starting", 301.0), 0.5, "starting", True),
        (status("starting"), 100.0, "silent", False),  # what it imports lets nothing else run
        (status("running", 59.0), 0.5, "", False),  # scores
        (status("running", 61.0), 0.5, "hung", True),
        (status("paused", 61.0), 0.5, "hung", True),
        (status("ready", 61.0), 0.5, "hung", True),
        (status("running"), 4.0, "", False),
        (status("running"), 12.0, "silent", False),  # stopped for a while: nothing is lost
        (status("running"), 61.0, "silent", True),
    ],
)
def test_words(said: Status | None, quiet_s: float, word: str, fatal: bool) -> None:
    found = judge(said, quiet_s, SPEC, silent_s=5.0)
    assert ((found.word, found.fatal) if found else ("", False)) == (word, fatal)


def test_zero_is_for_ever() -> None:
    patient = NodeSpec(kind="robot", start_s=0, hang_s=0)
    assert judge(None, 1e6, patient, 5.0) is None
    assert judge(status("running", 1e6), 0.5, patient, 5.0) is None
    assert judge(status("running"), 1e6, patient, 5.0) == ("silent", "has been silent for 1000000 s", False)


def test_patience_suits_the_kind_where_the_file_says_nothing() -> None:
    assert _settled(NodeSpec(kind="trainer"), None).hang_s == 300
    assert _settled(NodeSpec(kind="robot"), None).hang_s == 60
    assert _settled(NodeSpec(kind="robot", hang_s=0), None).hang_s == 0


class Stage:
    """A watch of one node, with a clock, a fleet that only remembers, and what was said."""

    def __init__(self) -> None:
        graph = Graph(
            file="", nodes={"t": SPEC}, configs={}, args={}, off=[], seed=0, time_limit_s=0.0, description=""
        )  # fmt: skip
        self.said: list[str] = []
        self.killed: list[str] = []
        ended: dict[str, str] = {}
        self.fleet: Any = SimpleNamespace(
            alive=["t"], started_s={"t": 0.0}, ended=ended, end=ended.__setitem__, kill=self.killed.append
        )  # fmt: skip
        self.board = Board(graph)
        self.view = self.board.nodes["t"]
        self.view.new_process()
        self.watch = Watch(graph, self.board, self.fleet, Limits(), lambda level, text: self.said.append(f"{level} {text}"))
        self.now_s = 0.0
        self.seq = 0

    def pass_time(self, seconds: float, said: Status | None = None) -> None:
        """Steps of half a second, a heartbeat with each if `said`."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            self.now_s += 0.5
            if said is not None:
                self.seq += 1
                envelope = Envelope(topic="status/t", source="t", run="r", seq=self.seq, t_ns=0, mono_ns=0)
                self.board.take(Message(envelope=envelope, body=said), self.now_s)
            self.watch.step(self.now_s)


def test_a_hung_node_is_named_counted_ended_and_then_killed() -> None:
    stage = Stage()
    stage.pass_time(10, status())
    assert stage.said == []
    stage.pass_time(1, status("running", 63.4))
    assert stage.said == ["ALARM t is alive but has made no progress for 63 s: ending it"]
    assert (stage.view.word, stage.view.troubles) == ("hung", {"hung": 1})
    assert stage.fleet.ended == {"t": "it is alive but has made no progress for 63 s"}
    assert stage.killed == []
    stage.pass_time(6, status("running", 70.0))
    assert stage.killed == ["t"]
    assert len(stage.said) == 1


def test_a_node_that_was_stopped_for_ten_seconds_is_left_alone() -> None:
    stage = Stage()
    stage.pass_time(10, status())
    stage.pass_time(10)
    assert (stage.view.word, stage.view.troubles) == ("silent", {"silent": 1})
    stage.pass_time(5, status())
    assert stage.view.word == "running"
    assert stage.said == ["WARNING t has been silent for 6 s", "OVER t is heard again"]
    assert not stage.fleet.ended


def test_a_node_that_stays_silent_is_ended() -> None:
    stage = Stage()
    stage.pass_time(10, status())
    stage.pass_time(70)
    assert stage.view.troubles == {"silent": 1}
    assert stage.said[-1] == "ALARM t has been silent for 60 s: ending it"
    assert stage.killed == ["t"]


def test_a_launcher_that_slept_accuses_nobody() -> None:
    stage = Stage()
    stage.pass_time(10, status())
    stage.now_s += 3600  # Ctrl-Z and, much later, fg
    stage.pass_time(2)
    stage.pass_time(5, status())
    assert stage.said == []


def test_a_node_that_waits_for_its_subscribers_says_for_whom() -> None:
    stage = Stage()
    waiting = msgspec.structs.replace(status("starting", 0.02), missing=["t", "launcher"])
    stage.pass_time(29, waiting)
    assert stage.said == []
    stage.pass_time(400, waiting)
    assert stage.said == ["WARNING t is set up and has waited 30 s for t (starting), launcher"]
    assert not stage.fleet.ended


def test_a_new_process_begins_anew() -> None:
    stage = Stage()
    stage.pass_time(10, status())
    stage.pass_time(20)
    stage.view.new_process()
    stage.fleet.started_s["t"] = stage.now_s
    stage.pass_time(200)
    assert stage.view.word == "starting"
    assert not stage.fleet.ended
    stage.pass_time(110)
    assert stage.view.troubles == {"silent": 1, "starting": 1}
    assert "t" in stage.fleet.ended


def test_settled_is_what_the_run_folder_says() -> None:
    assert msgspec.to_builtins(_settled(NodeSpec(kind="predictor"), None))["hang_s"] == 120
