"""Messages that pass the codec and make no sense to the node that takes them: counted as `content`, and it lives."""

import hashlib
import json
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.predictor.config import PredictorConfig
from nodes.predictor.node import PredictorNode
from nodes.recorder.config import RecorderConfig
from nodes.recorder.node import RecorderNode
from nodes.robot.config import RobotConfig
from nodes.robot.node import RobotNode
from nodes.runtime import BadMessage, Node, NodeError, _Runner
from nodes.trainer.config import TrainerConfig
from nodes.viewer.config import ViewerConfig
from nodes.viewer.node import ViewerNode
from nodes.worlds import model_actions, model_cameras
from protocol import codec
from protocol import messages as m
from protocol.errors import REASONS, DecodeError
from worldmodel.spec import model_spec

from ..protocol.mutations import Mutator, messages

TAKEN = 600


def make_node(node: Any, kind: str, folder: Path) -> Node:
    if kind == "robot":
        options = {"size": 16, "radius": 2, "step": 5, "probe_states": 4}
        made = node(RobotNode, RobotConfig(rate_hz=0.0, options=options), [("pred", "predictor")])
        made.go()
    elif kind == "predictor":
        made = node(PredictorNode, PredictorConfig(max_hz=0.0))
    elif kind == "viewer":
        made = node(ViewerNode, ViewerConfig(window=False))
    elif kind == "recorder":
        made = node(RecorderNode, RecorderConfig(root=str(folder / "sessions"), map_gb=0.1, min_free_gb=0.0))
        made.bus.gaps, made.bus.tails = (lambda since=0: []), list
    else:
        from nodes.trainer.node import TrainerNode

        made = node(TrainerNode, TrainerConfig(device="cpu"))
    return made


def absurd(seed: int) -> list[m.Message]:
    """Mutated messages that the codec takes."""
    mutated, found = Mutator(seed), []
    while len(found) < TAKEN:
        try:
            found.append(codec.decode(mutated()))
        except DecodeError:
            continue
    return found


@pytest.mark.parametrize("kind", ["robot", "predictor", "viewer", "recorder", "trainer"])
def test_every_node_lives_through_them_and_takes_the_next_good_one(node: Any, kind: str, tmp_path: Path) -> None:
    made = make_node(node, kind, tmp_path)
    runner = _Runner(made, attached=False)
    good = [codec.decode(parts) for parts in messages().values()]
    ended: list[str] = []

    def give(message: m.Message) -> None:
        if handler := runner.handlers.get(message.kind):
            try:
                runner._handle(handler, message)
            except NodeError as error:
                ended.append(f"{message.kind}: {error}")

    for number, message in enumerate([*good, *absurd(41), *good]):
        give(message)
        if number % 20 == 0:
            made.tick()
    made.tick()
    assert {one.partition(":")[0] for one in ended} <= {"robot"}, "only a robot that is another ends a node, with one line"
    assert set(made.bus.refused) <= REASONS
    if kind in ("predictor", "trainer"):
        assert "content" in made.bus.refused
    if kind == "recorder":
        made.close()


@pytest.fixture
def trainer(node: Any, message: Callable[..., m.Message], dot_robot: m.Robot, tmp_path: Path) -> Any:
    made = make_node(node, "trainer", tmp_path)
    made.on_robot(message("robot", dot_robot))
    return made


def probe(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    arrays = {
        "history/top": np.zeros((2, 3, 16, 16, 3), np.uint8), "past_actions": np.zeros((2, 2, 1), np.float32),
        "candidates": np.zeros((2, 1), np.float32), "next/top": np.zeros((2, 2, 16, 16, 3), np.uint8),
        "position": np.zeros((2, 2, 2), np.float32),
    }  # fmt: skip
    return {name: array for name, array in {**arrays, **changes}.items() if array is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"history/top": None}, {"past_actions": None}, {"candidates": None}, {"next/top": None},
        {"past_actions": np.zeros((2, 2), np.float32)}, {"past_actions": np.zeros(2, np.float32)},
        {"candidates": np.zeros((3, 1), np.float32)}, {"candidates": np.zeros((2, 2), np.float32)},
        {"candidates": np.zeros((0, 1), np.float32)},
        {"candidates": np.zeros((), np.float32)}, {"next/top": np.zeros((2, 2, 16, 15, 3), np.uint8)},
        {"history/top": np.zeros((2, 3, 16, 16, 3), np.float32)}, {"position": np.zeros((2, 2), np.float32)},
    ],
)  # fmt: skip
def test_a_probe_that_does_not_fit_is_passed_over(trainer: Any, message: Callable[..., m.Message], changes: Any) -> None:
    with pytest.raises(BadMessage, match=r"^probe/robot 0 is passed over: "):
        trainer.on_probe(message("probe", m.Probe(description="x"), probe(**changes)))
    assert trainer.core.probe is None
    trainer.on_probe(message("probe", m.Probe(description="x"), probe()))
    assert trainer.core.probe is not None


def test_pickle_as_weights_is_no_weights(node: Any, message: Callable[..., m.Message], dot_robot: m.Robot, tmp_path: Path) -> None:
    """With a spec and the right hash: what reads the bytes knows no pickle."""
    made = make_node(node, "predictor", tmp_path)
    data = pickle.dumps({"a": subprocess.run})
    spec = model_spec(model_cameras(dot_robot.cameras), model_actions(dot_robot.actions), "small")
    body = m.Weights(
        version=1, spec=json.loads(spec.to_json()), spec_hash=spec.hash, sha256=hashlib.sha256(data).hexdigest(), steps=1, samples=1
    )
    made.on_weights(message("weights", body, {"safetensors": np.frombuffer(data, np.uint8)}))
    assert made.foresight.model is None
    assert made.bus.refused == ["weights_fit"]
