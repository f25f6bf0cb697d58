"""The predictor by hand: commands, a person's word, weights that fit and weights that do not."""

import hashlib
import json
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from nodes.predictor.config import PredictorConfig
from nodes.predictor.foresight import KEPT_CHOICES, mean_squared
from nodes.predictor.node import PredictorNode
from nodes.runtime import NodeError
from protocol import messages as m

ROOT = Path(__file__).parents[2]
Make = Callable[..., m.Message]


def image(value: int) -> dict[str, np.ndarray]:
    return {"image/top": np.full((16, 16, 3), value, np.uint8)}


@pytest.fixture
def predictor(node: Any, message: Make, dot_robot: m.Robot) -> Callable[..., Any]:
    """A predictor that knows its robot."""

    def make(robot: m.Robot = dot_robot, **config: Any) -> Any:
        made = node(PredictorNode, PredictorConfig(**{"model": "none", "max_hz": 0.0, **config}))
        made.on_robot(message("robot", robot))
        return made

    return make


@pytest.fixture
def see(message: Make) -> Callable[..., None]:
    def frame(made: Any, step: int, value: int = 0, episode: int = 0) -> None:
        made.on_frame(message("frame", m.Frame(), image(value), episode, step))

    return frame


@pytest.fixture
def did(message: Make) -> Callable[..., None]:
    def action(made: Any, step: int, value: float, safe: bool = False) -> None:
        body = m.ActionTaken(action={"action": value}, by="x", start_ns=0, end_ns=0, safe=safe)
        made.on_action(message("action", body, step=step))

    return action


def commands(made: Any) -> list[tuple[int | None, float, str]]:
    return [(one.envelope.step, one.body.action["action"], one.body.by) for one in made.bus.of("command")]


def test_a_command_for_every_frame_with_a_deadline(predictor: Any, see: Any) -> None:
    made = predictor(selector="sequence", selector_options={"sequence": "alternate"}, deadline_s=2.0)
    for step in range(3):
        see(made, step)
    assert commands(made) == [(0, 0.0, "sequence"), (1, 1.0, "sequence"), (2, 0.0, "sequence")]
    assert {one.body.deadline_mono_ns for one in made.bus.of("command")} == {2 * 10**9}, "from the frame on, by the robot's clock"


@pytest.mark.parametrize(("selector", "options"), [("constant", {"index": 1}), ("sequence", {"sequence": [1]}), ("random", {})])
def test_a_choice_is_commanded_to_the_last_digit(predictor: Any, see: Any, dot_robot: m.Robot, selector: str, options: Any) -> None:
    """0.12 and 0.07 are no float32: rounded they would be no action of this robot."""
    space = m.ActionSpaceInfo(names=["action"], choices=[{"action": 0.07}, {"action": 0.12}])
    robot = msgspec.structs.replace(dot_robot, actions=space, safe_action={"action": 0.07})
    made = predictor(robot, selector=selector, selector_options=options)
    for step in range(3):
        see(made, step)
    assert len(made.bus.of("command")) == 3
    assert all(one.body.action in space.choices for one in made.bus.of("command"))
    assert made.candidates == space.choices


def test_selector_none_leaves_acting_to_others(predictor: Any, see: Any) -> None:
    made = predictor(selector="none")
    see(made, 0)
    assert commands(made) == []


def test_a_frame_before_the_robot_is_no_trouble(node: Any, see: Any, did: Any) -> None:
    made = node(PredictorNode, PredictorConfig(model="none"))
    see(made, 0)
    did(made, 0, 1.0)
    made.tick()
    assert commands(made) == []


def test_wrong_selectors_end_the_node_with_one_line(predictor: Any) -> None:
    with pytest.raises(NodeError, match="unknown sequence 'wat'"):
        predictor(selector="sequence", selector_options={"sequence": "wat"})
    with pytest.raises(NodeError, match="no session 'nowhere'"):
        predictor(selector="recorded", selector_options={"session": "nowhere"})


def test_the_end_of_the_actions_ends_the_run(predictor: Any, see: Any) -> None:
    made = predictor(selector="sequence", selector_options={"sequence": [1], "once": True})
    see(made, 0)
    see(made, 1)
    assert (made.bus.said["outcome"], made.bus.said["detail"]) == ("ended", "the sequence has been played")
    assert len(commands(made)) == 1


def test_confirm_asks_and_sends_only_what_was_said(predictor: Any, see: Any) -> None:
    made = predictor(selector="constant", selector_options={"index": 1}, confirm=True)
    with pytest.raises(ValueError, match="nothing is asked"):
        made.do_confirm({})
    see(made, 0)
    assert made.bus.said["detail"] == "step 0: action 1?  y yes, 0-1 another"
    assert commands(made) == []
    made.do_confirm({})
    assert made.bus.said["detail"] == ""
    see(made, 1)
    made.do_confirm({"index": 0})
    see(made, 2)
    see(made, 3)  # the robot did not wait: the question about step 2 is over
    made.do_confirm({})
    assert commands(made) == [(0, 1.0, "person"), (1, 0.0, "person"), (3, 1.0, "person")]
    with pytest.raises(ValueError, match="nothing is asked"):
        made.do_confirm({})


def test_a_person_drives(predictor: Any, see: Any, dot_robot: m.Robot) -> None:
    made = predictor(selector="person")
    see(made, 0)
    assert made.bus.said["detail"] == "step 0: which action?  0-1"
    made.do_drive({"index": 1})
    made.do_drive({"index": 0})  # ahead of the next frame
    see(made, 1)
    assert commands(made) == [(0, 1.0, "person"), (1, 0.0, "person")]
    for index in (2, -1, "x", True, None):
        with pytest.raises(ValueError, match="there is no action"):
            made.do_drive({"index": index})
    paced = predictor(msgspec.structs.replace(dot_robot, timing="paced"), selector="person")
    see(paced, 0)
    paced.do_drive({"index": 1})
    see(paced, 1)
    assert commands(paced) == [(0, 0.0, "person"), (1, 1.0, "person")]


def test_driving_goes_before_the_selector_and_needs_no_second_yes(predictor: Any, see: Any) -> None:
    made = predictor(selector="constant", selector_options={"index": 0}, confirm=True)
    made.do_drive({"index": 1})
    see(made, 0)
    assert commands(made) == [(0, 1.0, "person")]


def test_late_commands_are_counted_and_memory_is_bounded(predictor: Any, see: Any, did: Any) -> None:
    made = predictor(selector="constant")
    see(made, 0)
    did(made, 0, 0.0, safe=True)
    made._report()
    assert made.bus.of("metrics")[-1].body.values["late"] == 1
    replay = predictor(selector="none")
    for step in range(3 * KEPT_CHOICES):
        did(replay, step, 1.0)
    assert len(replay.foresight.chosen) == KEPT_CHOICES


def test_without_a_model_torch_is_never_imported() -> None:
    """Also when a trainer sends weights and frames flow."""
    script = textwrap.dedent("""
        import sys
        import numpy as np
        from nodes.predictor.config import PredictorConfig
        from nodes.predictor.node import PredictorNode
        from protocol import messages as m
        from protocol.clock import SystemClock
        from protocol.wiring import Endpoints, Wiring

        class Bus:
            clock = SystemClock()
            def publish(self, *args, **where): pass
            def set_state(self, **fields): pass

        wiring = Wiring(run="t", run_dir=".", name="p", kind="predictor", endpoints=Endpoints("l", "r", "c"))
        node = PredictorNode(wiring, PredictorConfig(model="none"), Bus())
        def tell(kind, body, **arrays):
            envelope = m.Envelope(topic=f"{kind}/x", source="x", run="q", seq=0, t_ns=0, mono_ns=0, episode=0, step=0)
            getattr(node, f"on_{kind}")(m.Message(envelope=envelope, body=body, arrays=arrays))
        node.setup()
        space = m.ActionSpaceInfo(names=["a"], low=[0.0], high=[1.0])
        robot = dict(robot="r", driver="d", params={}, cameras=[], actions=space, rate_hz=1, timing="paced", safe_action={"a": 0.0})
        tell("robot", m.Robot(**robot))
        weights = m.Weights(version=1, spec={}, spec_hash="", sha256="", steps=0, samples=0)
        tell("weights", weights, safetensors=np.zeros(3, np.uint8))
        tell("frame", m.Frame())
        node.tick()
        sys.exit("torch" in sys.modules)
    """)
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


# -- with a model ---------------------------------------------------------------------------------

torch = pytest.importorskip("torch")


@pytest.fixture
def weights(message: Make, dot_robot: m.Robot) -> Callable[..., m.Message]:
    """A weights message of a tiny model; `change` alters its body."""

    def make(version: int = 1, seed: int = 0, context: int = 2, run: str = "q", **change: Any) -> m.Message:
        from nodes.worlds import model_actions, model_cameras
        from worldmodel.learner import Learner, TrainConfig
        from worldmodel.spec import model_spec

        tiny = {"width": 32, "heads": 2, "encoder_depth": 1, "decoder_depth": 1, "context": context}
        spec = model_spec(model_cameras(dot_robot.cameras), model_actions(dot_robot.actions), **tiny)
        data = Learner(spec, TrainConfig(seed=seed), "cpu").weights_bytes()
        plain, sha256 = json.loads(spec.to_json()), hashlib.sha256(data).hexdigest()
        body = m.Weights(version=version, spec=plain, spec_hash=spec.hash, sha256=sha256, steps=1, samples=1)
        return message("weights", msgspec.structs.replace(body, **change), {"safetensors": np.frombuffer(data, np.uint8)}, run=run)

    return make


def think(made: Any) -> None:
    """Begin what is due, and wait for it."""
    made.tick()
    until_s = time.monotonic() + 60
    while made.foresight.busy:
        assert time.monotonic() < until_s
        made.tick()


@pytest.fixture
def follower(predictor: Any) -> Any:
    return predictor(model="follow", selector="constant", selector_options={"index": 1}, device="cpu")


def test_every_candidate_is_predicted_and_the_last_prediction_is_scored(follower: Any, see: Any, did: Any, weights: Any) -> None:
    follower.on_weights(weights(version=7))
    see(follower, 0, 10)
    think(follower)
    did(follower, 0, 0.0)  # the robot did something else than asked
    see(follower, 1, 20)
    think(follower)
    before, after = (one for one in follower.bus.of("prediction"))
    assert before.arrays["next/top"].shape == (2, 16, 16, 3)
    assert (before.body.candidates, before.body.chosen, before.body.weights_version) == ([{"action": 0.0}, {"action": 1.0}], 1, 7)
    assert (before.body.error, before.envelope.step, after.envelope.step) == (None, 0, 1)
    now = np.full((16, 16, 3), 20, np.uint8)
    assert after.body.error == pytest.approx(mean_squared({"top": before.arrays["next/top"][0]}, {"top": now}))
    assert after.body.copy_last_error == pytest.approx((10 / 255) ** 2)


def test_no_score_across_a_hole_or_an_episode(follower: Any, see: Any, did: Any, weights: Any) -> None:
    follower.on_weights(weights())
    for step, episode in ((0, 0), (2, 0), (3, 1)):
        see(follower, step, 10, episode)
        think(follower)
        did(follower, step, 1.0)
    assert [one.body.error for one in follower.bus.of("prediction")] == [None, None, None]


def test_frames_are_answered_while_the_model_thinks(follower: Any, see: Any, did: Any, weights: Any) -> None:
    follower.on_weights(weights(version=1))
    let_go, predict = threading.Event(), follower.foresight.model.predict
    follower.foresight.model.predict = lambda *args: let_go.wait(60) and predict(*args)
    see(follower, 0, 10)
    assert 0 < follower.tick() < 0.1, "it looks again soon"
    did(follower, 0, 1.0)
    see(follower, 1, 20)
    follower.on_weights(weights(version=2))
    assert [step for step, _, _ in commands(follower)] == [0, 1]
    assert (follower.bus.of("prediction"), follower.foresight.version) == ([], 1), "weights change between two predictions"
    let_go.set()
    think(follower)
    assert follower.foresight.version == 2
    think(follower)
    first, second = follower.bus.of("prediction")
    assert (first.envelope.step, first.body.weights_version, second.envelope.step, second.body.weights_version) == (0, 1, 1, 2)
    assert second.body.copy_last_error == pytest.approx((10 / 255) ** 2), "scored against the frame that came meanwhile"


def test_nothing_is_predicted_before_weights_or_twice(follower: Any, see: Any, weights: Any) -> None:
    see(follower, 0)
    think(follower)
    follower.on_weights(weights())
    think(follower)
    think(follower)
    assert len(follower.bus.of("prediction")) == 1


def test_predictions_keep_to_their_rate(predictor: Any, see: Any, weights: Any) -> None:
    made = predictor(model="follow", selector="none", max_hz=0.001, device="cpu")
    made.on_weights(weights())
    for step in range(3):
        see(made, step)
        think(made)
    assert len(made.bus.of("prediction")) == 1


def test_weights_are_swapped_in_place(follower: Any, see: Any, weights: Any) -> None:
    follower.on_weights(weights())
    model = follower.foresight.model
    follower.on_weights(weights(version=2, seed=1))
    assert follower.foresight.model is model
    assert follower.foresight.version == 2
    follower.on_weights(weights(version=3, context=6))
    assert follower.foresight.model is not model
    assert follower.foresight.history.length == 6


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("weights_hash", {"sha256": "0" * 64}), ("weights_hash", {"sha256": ""}), ("weights_spec", {"spec_hash": "0" * 64}),
        ("weights_spec", {"spec": {"wat": 1}}), ("weights_spec", {"spec": {}}), ("weights_old", {"version": 1}),
        ("weights_old", {"version": 0}),
    ],
)  # fmt: skip
def test_forged_weights_are_not_used_and_counted(follower: Any, weights: Any, reason: str, change: dict[str, Any]) -> None:
    follower.on_weights(weights(version=1))
    model, before = follower.foresight.model, _parameters(follower)
    follower.on_weights(weights(**{"version": 2, "seed": 1, **change}))
    assert follower.foresight.version == 1
    assert follower.foresight.model is model
    assert all(torch.equal(one, other) for one, other in zip(before, _parameters(follower), strict=True))
    assert follower.bus.of("alarm")[0].body.name == "weights"
    assert follower.bus.refused == [reason]
    follower.on_weights(weights(version=2))
    assert follower.foresight.version == 2


def _parameters(predictor: Any) -> list[Any]:
    return [tensor.clone() for tensor in predictor.foresight.model.model.parameters()]


def test_weights_of_another_spec_s_tensors_or_none_at_all_are_not_used(follower: Any, weights: Any, message: Make) -> None:
    """A hash says only that the bytes are those that were sent."""
    good, other = weights(version=1), weights(version=2, context=6)
    nonsense = np.frombuffer(b"not a safetensors file", np.uint8)
    follower.on_weights(good)
    for arrays in ({"safetensors": other.arrays["safetensors"]}, {"safetensors": nonsense}, {}):
        sha256 = hashlib.sha256(arrays["safetensors"].tobytes()).hexdigest() if arrays else good.body.sha256
        follower.on_weights(message("weights", msgspec.structs.replace(good.body, version=2, sha256=sha256), arrays))
    assert follower.foresight.version == 1
    assert follower.bus.refused == ["weights_fit", "weights_fit", "weights_hash"]


def test_a_trainer_that_comes_back_counts_from_one_again(follower: Any, weights: Any) -> None:
    follower.on_weights(weights(version=9))
    follower.on_weights(weights(version=1, run="another"))
    assert follower.foresight.version == 1


def test_a_robot_that_comes_back_begins_anew(follower: Any, see: Any, weights: Any, message: Make, dot_robot: m.Robot) -> None:
    follower.on_weights(weights(context=6))
    see(follower, 0)
    follower.on_robot(message("robot", dot_robot, run="another"))
    think(follower)  # the frame of the earlier run is forgotten
    assert follower.bus.of("prediction") == []
    assert follower.foresight.history.length == 6


def test_frames_before_the_robot_are_not_predicted(node: Any, see: Any, weights: Any) -> None:
    made = node(PredictorNode, PredictorConfig(model="follow", device="cpu"))
    made.on_weights(weights())
    see(made, 0)
    think(made)
    assert made.bus.of("prediction") == []


def test_behind_a_gate_a_frame_is_answered_when_it_is_let_through(predictor: Any, see: Any, message: Make) -> None:
    made = predictor(selector="sequence", selector_options={"sequence": "alternate"}, gate=0.01, deadline_s=1.0)

    def let_through(step: int) -> None:
        made.on_release(message("release", m.Release(loss=0.001, steps=3), episode=0, step=step))

    see(made, 0)
    assert commands(made) == []
    let_through(0)
    assert commands(made) == [(0, 0.0, "sequence")]
    see(made, 0)  # shown again: let through already
    assert len(commands(made)) == 2
    see(made, 1)
    let_through(0)  # of a trainer that says again what it said
    assert len(commands(made)) == 2
    let_through(1)
    let_through(1)
    assert commands(made)[2:] == [(1, 1.0, "sequence")]
    let_through(2)  # before the frame came here
    see(made, 2)
    assert commands(made)[3:] == [(2, 0.0, "sequence")]
    assert made.bus.of("command")[-1].body.deadline_mono_ns >= 10**9  # the time that learning took counts for nothing
