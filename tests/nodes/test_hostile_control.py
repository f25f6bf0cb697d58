"""Control requests with any command and any arguments: each is answered once, with one line or done, and the node lives."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.predictor.config import PredictorConfig
from nodes.predictor.node import PredictorNode
from nodes.recorder.config import RecorderConfig
from nodes.recorder.node import RecorderNode
from nodes.robot.config import RobotConfig
from nodes.robot.node import RobotNode
from nodes.runtime import Node, _Runner
from nodes.trainer.config import TrainerConfig
from nodes.viewer.config import ViewerConfig
from nodes.viewer.node import ViewerNode
from protocol import messages as m
from protocol.control import ControlRequest
from protocol.errors import MAX_LINE
from protocol.wiring import Endpoints, Wiring

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
FUZZ = settings(max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
HUGE = [-1, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63)]
SCALAR = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(HUGE) | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
ANYTHING = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=8
)
NAMES = st.sampled_from(["index", "mark", "name", "how", "a", "args", "self"]) | st.text(max_size=5)
WORDS = st.sampled_from(["success", "failure", "discard", "reset", "end"])
ARGS = st.dictionaries(NAMES, ANYTHING | WORDS, max_size=3)


def asked(runner: _Runner, command: str, args: dict[str, Any]) -> dict[str, Any]:
    """The one answer to a request."""
    sent: list[bytes] = []
    runner._answer(ControlRequest(command, args, "test", sent.append, "1"))
    assert len(sent) == 1
    answer: dict[str, Any] = msgpack.unpackb(sent[0])
    assert answer["ok"] or answer["error"]
    assert answer["error"].isprintable()
    assert len(answer["error"]) <= MAX_LINE
    return answer


def running(node: Node) -> _Runner:
    runner = _Runner(node, attached=False)
    runner.running = True
    return runner


@pytest.fixture
def image() -> dict[str, np.ndarray]:
    return {"image/top": np.zeros((16, 16, 3), np.uint8)}


@pytest.fixture
def each(node: Any, message: Any, dot_robot: m.Robot, image: Any, tmp_path: Path) -> Callable[[str], _Runner]:
    """A node of each kind that has seen its robot and a frame."""

    def make(kind: str) -> _Runner:
        if kind == "robot":
            options = {"size": 16, "radius": 2, "step": 5, "probe_states": 4}
            made = node(RobotNode, RobotConfig(rate_hz=0.0, options=options), [("pred", "predictor")])
            made.go()
        elif kind == "predictor":
            made = node(PredictorNode, PredictorConfig(model="none", selector="person"))
            made.on_robot(message("robot", dot_robot))
            made.on_frame(message("frame", m.Frame(), image))
        elif kind == "viewer":
            made = node(ViewerNode, ViewerConfig(window=False))
            made.on_frame(message("frame", m.Frame(), image))
        elif kind == "recorder":
            made = node(RecorderNode, RecorderConfig(root=str(tmp_path / "sessions"), map_gb=0.1, min_free_gb=0.0))
            made.bus.gaps, made.bus.tails = (lambda since=0: []), list
        else:
            from nodes.trainer.node import TrainerNode

            made = node(TrainerNode, TrainerConfig())
        return running(made)

    return make


@pytest.mark.parametrize("kind", ["robot", "predictor", "viewer", "recorder", "trainer"])
def test_every_command_of_every_node_with_any_arguments(each: Any, kind: str) -> None:
    runner = each(kind)
    commands = sorted(runner.commands)

    @FUZZ
    @given(st.sampled_from([*commands, "go", "wat", "", "__class__", "\n", "x" * 5000]), ARGS)
    def ask(command: str, args: dict[str, Any]) -> None:
        asked(runner, command, args)

    ask()
    for command in commands:  # and it does as it is told
        asked(runner, command, {"mark": "success", "index": 0})
    assert not runner.stopping
    runner.node.tick()
    if kind == "recorder":
        runner.node.close()


class Odd(Node):
    """Fails in every way that arguments may lead to."""

    def do_upper(self, args: dict[str, Any]) -> None:
        args["text"].upper()

    def do_count(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"count": int(args["n"])}

    def do_third(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"third": args["items"][2]}

    def do_send(self, args: dict[str, Any]) -> None:
        self.publish("metrics", m.Metrics(values=args["values"]))

    def do_grow(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"much": "x" * int(args["n"])}

    def do_odd(self, args: dict[str, Any]) -> dict[str, Any]:
        return {"cannot": object()}

    def do_break(self, args: dict[str, Any]) -> None:
        raise ZeroDivisionError("as asked\nreally")


@pytest.mark.parametrize(
    ("command", "args", "says"),
    [
        ("upper", {"text": 5}, "no attribute 'upper'"), ("upper", {}, "missing argument 'text'"),
        ("count", {"n": float("inf")}, "infinity"), ("count", {"n": float("nan")}, "NaN"),
        ("count", {"n": "9" * 5000}, "Exceeds the limit"), ("count", {"n": [1]}, "int"),
        ("third", {"items": [1]}, "out of range"), ("third", {"items": {}}, "missing argument 2"), ("grow", {"n": 2 << 20}, "the limit is"),
        ("odd", {}, "unsupported"), ("wat\n" * 100, {}, "unknown command 'wat"), ("upper", {"text": {"a": 1}}, "attribute"),
    ],
)  # fmt: skip
def test_what_arguments_lead_to_is_a_refusal(node: Any, command: str, args: dict[str, Any], says: str) -> None:
    runner = running(node(Odd, None))
    answer = asked(runner, command, args)
    assert not answer["ok"]
    assert says in answer["error"]
    assert asked(runner, "upper", {"text": "x"})["ok"]


def test_a_broken_command_is_answered_before_the_node_ends(node: Any) -> None:
    runner = running(node(Odd, None))
    sent: list[bytes] = []
    with pytest.raises(ZeroDivisionError):
        runner._answer(ControlRequest("break", {}, "test", sent.append, "1"))
    assert msgpack.unpackb(sent[0])["error"] == "node has failed: ZeroDivisionError: as asked really; see its log"


# -- through a socket ----------------------------------------------------------------------------------


@pytest.fixture
def alive(short_folder: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """A running node in a process of its own, and its control endpoint."""
    processes: list[subprocess.Popen[str]] = []

    def start(argv: list[str], kind: str, params: dict[str, Any]) -> tuple[subprocess.Popen[str], str]:
        ends = Endpoints(*(f"ipc://{short_folder}/{lane}" for lane in "lrc"))
        wiring = Wiring(run="t", run_dir=str(short_folder), name="node", kind=kind, endpoints=ends, params=params, subscribers=[])
        wiring.write(short_folder / "w.json")
        command = [sys.executable, *argv, str(short_folder / "w.json")]
        processes.append(subprocess.Popen(command, cwd=ROOT, env=ENV, stderr=subprocess.PIPE, text=True))
        return processes[-1], ends.control

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("argv", "kind", "params"),
    [
        ([str(HERE / "tiny.py")], "recorder", {}),
        (["-m", "nodes.robot"], "robot", {"timing": "paced", "rate_hz": 50.0, "options": {"size": 16, "radius": 2, "step": 5}}),
    ],
)
def test_a_process_answers_them_all(alive: Any, argv: list[str], kind: str, params: dict[str, Any]) -> None:
    """Two hundred requests one after the other, each answered, with garbage between them; then it stops as asked."""
    process, endpoint = alive(argv, kind, params)
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        number = 0

        def ask(command: str, args: dict[str, Any]) -> dict[str, Any]:
            nonlocal number
            number += 1
            socket.send(msgpack.packb({"v": 1, "id": str(number), "command": command, "args": args, "by": "test"}))
            assert socket.poll(30_000), f"no answer to {command!r} {args!r}"
            answer: dict[str, Any] = msgpack.unpackb(socket.recv(), strict_map_key=False)
            assert answer["id"] == str(number)
            assert answer["error"].isprintable() or answer["ok"]
            return answer

        commands = ["echo", "odd", "pause", "resume", "step", "mark", "reset", "status", "detach", "wat", ""]
        assert ask("go", {})["ok"]

        @settings(FUZZ, max_examples=200)
        @given(st.sampled_from(commands), ARGS, st.binary(max_size=40))
        def fuzz(command: str, args: dict[str, Any], garbage: bytes) -> None:
            socket.send(garbage)
            socket.send_multipart([garbage, b"more"])
            ask(command, args)

        fuzz()
        status = ask("status", {})["result"]["status"]
        assert status["state"] in ("running", "paused")
        assert list(status["refused"]) == ["control"]
        assert status["refused"]["control"] > 200
        assert ask("stop", {})["ok"]
    assert process.communicate(timeout=30)[1].count("Traceback") == 0
    assert process.returncode == 0
