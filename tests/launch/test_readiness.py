"""Who is told to go, and whether it is a warning that it does not answer."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from launch.board import Board
from launch.fleet import Fleet
from launch.graph import Graph
from launch.readiness import Readiness
from launch.schema import NodeSpec
from protocol.messages import Envelope, Message, Status


@pytest.mark.parametrize(("phase", "quiet"), [("starting", False), ("running", True)])
def test_a_node_that_does_not_go_is_asked_again_and_a_warning_only_at_the_start(phase: Any, quiet: bool) -> None:
    graph = Graph(
        file="g.yaml", nodes={"trainer": NodeSpec(kind="trainer")}, configs={"trainer": {}}, args={}, off=[], seed=0,
        time_limit_s=60.0, description="",
    )  # fmt: skip
    board = Board(graph)
    board.nodes["trainer"].new_process()
    envelope = Envelope(topic="status/trainer", source="trainer", run="r1", seq=0, t_ns=0, mono_ns=0)
    board.take(Message(envelope=envelope, body=Status(state="ready", kind="trainer")), 10.0)
    board.phase = phase
    asked: list[tuple[str, str, bool]] = []

    def request(name: str, command: str, args: dict[str, Any], quiet: bool) -> bool:
        asked.append((name, command, quiet))
        return len(asked) > 1

    readiness = Readiness(graph, board, cast(Fleet, SimpleNamespace(alive={"trainer"})), request)
    for now_s in (10.0, 10.1, 10.2):
        readiness.step(now_s)
    assert asked == [("trainer", "go", quiet)] * 2
