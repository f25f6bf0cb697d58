"""The topic table agrees with itself, with the messages, and with the nodes that take them."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from protocol import messages as m
from protocol.topics import LATEST, NODE_KINDS, RELIABLE, TOPICS, published_by, taken, topic_of

ROOT = Path(__file__).parents[2]
NODE_CLASSES = {
    "robot": "nodes.robot.node:RobotNode", "recorder": "nodes.recorder.node:RecorderNode", "trainer": "nodes.trainer.node:TrainerNode",
    "predictor": "nodes.predictor.node:PredictorNode", "viewer": "nodes.viewer.node:ViewerNode",
}  # fmt: skip
PARTS = {m.CameraInfo, m.ActionSpaceInfo, m.TopicCount, m.Gap, m.Tail}


def test_every_body_has_exactly_one_row() -> None:
    bodies = {one for one in vars(m).values() if isinstance(one, type) and issubclass(one, m.Body)} - {m.Body} - PARTS
    rows = [topic.body for topic in TOPICS.values()]
    assert len(rows) == len(set(rows))
    assert set(rows) == bodies


@pytest.mark.parametrize("kind", TOPICS)
def test_rows_name_known_kinds_and_lanes(kind: str) -> None:
    topic = TOPICS[kind]
    assert topic.kind == kind
    assert "/" not in kind
    assert set(topic.publishers) <= {*NODE_KINDS, "launcher"}
    assert topic.publishers
    assert set(topic.takers) <= {*NODE_KINDS, "launcher"}
    assert set(topic.takers.values()) <= {LATEST, RELIABLE}
    assert topic.keep >= 1
    assert topic.max_bytes > 0
    assert topic.what


def test_what_is_recorded_reaches_the_recorder_whole() -> None:
    for topic in TOPICS.values():
        taken_whole = topic.takers.get("recorder") == RELIABLE
        assert taken_whole == (topic.recorded or topic.kind == "played"), f"{topic.kind}: of what is played, what is inside is recorded"


def test_taken_follows_the_two_kinds() -> None:
    assert taken("robot", "predictor") == dict.fromkeys(("robot", "frame", "action"), LATEST)
    assert taken("predictor", "robot") == {"command": RELIABLE}
    assert taken("viewer", "trainer") == {}
    assert {topic.kind for topic in published_by("recorder")} == {"metrics", "status", "log", "committed", "control", "alarm"}
    assert topic_of("frame/a/b").kind == "frame"


@pytest.mark.parametrize("kind", NODE_KINDS)
def test_nothing_that_is_taken_is_ignored(kind: str) -> None:
    if kind == "viewer":
        pytest.importorskip("cv2")
    module, _, name = NODE_CLASSES[kind].partition(":")
    node = getattr(importlib.import_module(module), name)
    handled = {attribute.removeprefix("on_") for attribute in dir(node) if attribute.startswith("on_")}
    assert handled == {topic.kind for topic in TOPICS.values() if kind in topic.takers}


@pytest.mark.parametrize("kind", ["robot", "recorder", "predictor", "trainer", "viewer"])
def test_nodes_are_imported_without_torch(kind: str) -> None:
    code = f"import sys, nodes.{kind}.node, nodes.{kind}.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
