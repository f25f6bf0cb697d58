"""What the trainer remembers, learns from and is scored on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("torch")

from nodes.runtime import NodeError
from nodes.trainer.config import TrainerConfig
from nodes.trainer.core import TrainerCore, cut_probe, numbers
from nodes.trainer.node import TrainerNode
from protocol import messages as m
from worldmodel import checkpoint
from worldmodel.evaluate import Scores
from worldmodel.presets import PRESETS

Make = Callable[..., m.Message]
TINY = {"width": 32, "heads": 2, "encoder_depth": 1, "decoder_depth": 1}


def config(**changes: Any) -> TrainerConfig:
    return TrainerConfig(**{"spec": TINY, "train": {"batch_size": 4}, "device": "cpu", "buffer_mb": 1, "min_transitions": 3, **changes})


@pytest.fixture
def core(dot_robot: m.Robot) -> Callable[..., TrainerCore]:
    def make(start: Any = None, seed: int = 0, **changes: Any) -> TrainerCore:
        return TrainerCore(config(**changes), dot_robot, seed, start)

    return make


@pytest.fixture
def feed(message: Make) -> Callable[..., None]:
    """Frames and actions of an episode; each frame shows its number."""

    def episode(to: Any, number: int, steps: int, held_out: bool = False, fails: tuple[int, ...] = (), first: int = 0) -> None:
        for step in range(first, first + steps):
            image = {"image/top": np.full((16, 16, 3), 10 * number + step, np.uint8)}
            frame = message("frame", m.Frame(held_out=held_out), image, number, step)
            body = m.ActionTaken(action={"action": float(step % 2)}, by="x", start_ns=0, end_ns=0, success=step not in fails)
            action = message("action", body, episode=number, step=step)
            if isinstance(to, TrainerCore):
                to.add_frame(frame)
                to.add_action(action, held_out)
            else:
                to.on_frame(frame)
                to.on_action(action)

    return episode


def probe(history: int = 3) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "history/top": random.integers(0, 256, (2, history, 16, 16, 3), dtype=np.uint8),
        "past_actions": np.arange(2 * (history - 1), dtype=np.float32).reshape(2, history - 1, 1),
        "candidates": np.array([[0.0], [1.0]], np.float32), "next/top": random.integers(0, 256, (2, 2, 16, 16, 3), dtype=np.uint8),
        "position": np.zeros((2, 2, 2), np.float32),
    }  # fmt: skip


def test_held_out_episodes_never_enter_the_training_buffer(core: Any, feed: Any) -> None:
    made = core()
    feed(made, 0, 5)
    feed(made, 1, 4, held_out=True)
    feed(made, 2, 5)
    assert (len(made.buffer), len(made.held_out), made.frames_seen) == (8, 3, 10)
    seen = {int(value) for _ in range(50) for value in np.unique(made.learner.draw(made.buffer).frames["top"])}
    assert seen <= {*range(5), *range(20, 25)}
    assert {int(value) for value in np.unique(made.held_out.spread(100).frames["top"])} == {10, 11, 12, 13}


def test_actions_that_failed_leave_a_hole(core: Any, feed: Any) -> None:
    made = core()
    feed(made, 0, 6, fails=(2,))
    assert len(made.buffer) == 4


def test_steps_that_do_not_follow_are_no_transition(core: Any, feed: Any) -> None:
    made = core()
    feed(made, 0, 3)
    feed(made, 0, 3, first=4)
    assert len(made.buffer) == 4


def test_training_waits_for_enough_and_keeps_to_its_ratio(core: Any, feed: Any) -> None:
    made = core(train_ratio=2.0)
    assert not made.can_train()
    feed(made, 0, 3)
    assert not made.can_train()
    feed(made, 1, 3)
    steps = 0
    while made.can_train():
        report = made.train()
        steps += 1
        assert np.isfinite(report["loss"])
    assert steps == 3  # 6 frames x 2 = 12 samples in batches of 4
    feed(made, 2, 2)
    assert made.can_train()
    far = core(train={"batch_size": 4, "loss": {"rollout": 1.0}})
    for number in range(4):
        feed(far, number, 2)
    assert len(far.buffer) == 4 and not far.can_train()  # no two transitions follow one another
    free = core()
    feed(free, 0, 9)
    for _ in range(5):
        assert free.can_train()
        free.train()


def test_the_probe_is_cut_to_the_models_context(core: Any) -> None:
    arrays = probe(history=3)
    cut = cut_probe(arrays, 2)
    assert np.array_equal(cut.frames["top"], arrays["history/top"][:, -2:])
    assert cut.past_actions.tolist() == [[[1.0]], [[3.0]]]
    assert cut_probe(arrays, 1).past_actions.shape == (2, 0, 1)
    with pytest.raises(ValueError, match="the probe's histories hold 3 frames, the model sees 4: lower its context"):
        cut_probe(arrays, 4)
    made = core()
    assert made.score() is None
    made.set_probe(arrays)
    scores = made.score()
    assert scores is not None
    assert scores.skill_copy_last is not None


def test_without_a_probe_held_out_episodes_are_scored(core: Any, feed: Any) -> None:
    made = core()
    feed(made, 0, 5, held_out=True)
    scores = made.score()
    assert scores is not None
    assert scores.cf_accuracy is None
    assert "skill_copy_last" in numbers(scores)
    feed(made, 1, 5)
    assert made.score() is not None


def test_the_goal_is_every_score_of_it(core: Any) -> None:
    made = core(goal={"cf_accuracy": 0.9, "skill_copy_last": 0.5})

    def scores(cf_accuracy: float | None, skill: float) -> Scores:
        fields = dict.fromkeys(Scores.__dataclass_fields__)
        return Scores(**{**fields, "cf_accuracy": cf_accuracy, "skill_copy_last": skill})

    assert made.learned(scores(0.9, 0.5))
    assert not made.learned(scores(0.89, 0.9))
    assert not made.learned(scores(None, 0.9))
    assert not core().learned(scores(1.0, 1.0))


def test_resuming_goes_on_and_refuses_another_spec(core: Any, feed: Any, tmp_path: Path) -> None:
    made = core()
    feed(made, 0, 6)
    made.train()
    saved = checkpoint.save(tmp_path, made.learner, {}, 3)
    again = core(start=checkpoint.load(saved))
    assert again.learner.samples == made.learner.samples == 4
    with pytest.raises(checkpoint.SpecMismatch, match="width") as caught:
        core(start=checkpoint.load(saved), spec={**TINY, "width": 64})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": {"wat": 1}}, "train has no setting 'wat'"),
        ({"train": {"sampling": {"rceent": 1}}}, "did you mean 'recent'"),
        ({"spec": {"targt": "delta"}}, "did you mean 'target'"),
        ({"spec": {"preset": "large"}}, "no field 'preset'"),
        ({"spec": {"width": 190}}, "no multiple of 4 x heads"),
        ({"model": "wat"}, "no preset 'wat'"),
    ],
)
def test_what_suits_no_robot_is_one_line_before_anything_starts(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=says) as caught:
        msgspec.convert(changes, TrainerConfig)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", PRESETS)
def test_every_preset_suits_some_robot(model: str) -> None:
    assert TrainerConfig(model=model).model == model


# -- the node -------------------------------------------------------------------------------------


@pytest.fixture
def trainer(node: Any, message: Make, dot_robot: m.Robot) -> Callable[..., Any]:
    def make(**changes: Any) -> Any:
        made = node(TrainerNode, config(**{"eval_every_s": 1000.0, **changes}))
        made.on_robot(message("robot", dot_robot))
        return made

    return make


def mark(message: Make, to: Any, episode: int, origin: int, held_out: bool) -> None:
    body = m.EpisodeMark(mark="start", held_out=held_out, origin_session="walk", origin_episode=origin)
    to.on_episode(message("episode", body, episode=episode))


def test_a_loop_brings_held_out_episodes_only_once(trainer: Any, feed: Any, message: Make) -> None:
    made = trainer()
    for turn in range(3):
        mark(message, made, 2 * turn, 0, held_out=False)
        feed(made, 2 * turn, 5)
        mark(message, made, 2 * turn + 1, 1, held_out=True)
        feed(made, 2 * turn + 1, 5, held_out=True)
    assert (len(made.core.held_out), len(made.core.buffer)) == (4, 12)


def test_it_publishes_weights_metrics_and_keeps_a_checkpoint(trainer: Any, feed: Any, message: Make, tmp_path: Path) -> None:
    made = trainer()
    made.on_probe(message("probe", m.Probe(description="x"), probe()))
    feed(made, 0, 8)
    for _ in range(3):
        made.tick()
    made.close()
    sent = made.bus.of("weights")
    assert [one.body.version for one in sent] == list(range(1, len(sent) + 1))
    assert sent[-1].body.spec_hash == made.core.spec.hash
    last = made.bus.of("metrics")[-1].body.values
    assert last["samples"] == made.core.learner.samples
    assert "skill_copy_last" in last
    assert checkpoint.load(checkpoint.latest(tmp_path / "checkpoints")).spec == made.core.spec
    again = trainer()
    assert again.core.learner.samples == made.core.learner.samples


def test_pausing_stops_training(trainer: Any, feed: Any) -> None:
    made = trainer()
    feed(made, 0, 8)
    made.do_pause({})
    made.tick()
    assert made.core.learner.steps == 0
    made.do_resume({})
    made.tick()
    assert made.core.learner.steps == 1


def test_what_cannot_be_trained_ends_the_node_with_one_line(trainer: Any, message: Make, tmp_path: Path) -> None:
    with pytest.raises(NodeError, match="multiples of the patch 7"):
        trainer(model="original-2025-10", spec={"patch": 7, "separator": 7})
    with pytest.raises(NodeError):
        trainer(resume=str(tmp_path / "nowhere"))
    made = trainer(spec={**TINY, "context": 5})
    with pytest.raises(NodeError, match="lower its context"):
        made.on_probe(message("probe", m.Probe(description="x"), probe()))


def test_a_goal_that_is_reached_is_said(trainer: Any, feed: Any, message: Make) -> None:
    made = trainer(goal={"skill_copy_last": -1e9}, stop_when_learned=True, eval_every_s=1e-9)
    made.on_probe(message("probe", m.Probe(description="x"), probe()))
    feed(made, 0, 8)
    made.tick()
    assert made.bus.said["outcome"] == "learned"
    assert made.bus.of("metrics")[0].body.values["skill_copy_last"] > -1e9


@pytest.mark.parametrize("timing", ["lockstep", "paced"])
def test_in_lockstep_a_set_ratio_makes_training_a_matter_of_the_frames_alone(
    node: Any, message: Make, feed: Any, dot_robot: m.Robot, timing: Any, tmp_path: Path
) -> None:
    """Whether the trainer finds time between two frames, or only at the end, its weights are the same."""

    def learned(busy: bool) -> bytes:
        made = node(TrainerNode, config(train_ratio=2.0, train={"batch_size": 4, "threads": 1}, eval_every_s=1000.0))
        made.on_robot(message("robot", msgspec.structs.replace(dot_robot, timing=timing)))
        for episode in range(3):
            for step in range(5):
                feed(made, episode, 1, first=step)
                while not busy and made.tick() == 0.0:
                    pass
        made.close()
        shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)  # the next one begins anew
        assert made.core.learner.samples == (32 if timing == "lockstep" or not busy else 0)
        return bytes(made.core.learner.weights_bytes())

    assert (learned(busy=True) == learned(busy=False)) is (timing == "lockstep")


# -- the gate -------------------------------------------------------------------------------------


def released(made: Any) -> list[tuple[int, int, int]]:
    """Episode, step, and the steps that were made for it."""
    return [(one.envelope.episode, one.envelope.step, one.body.steps) for one in made.bus.of("release")]


def test_the_robot_acts_when_the_newest_transition_is_learned_or_long_enough(trainer: Any, feed: Any) -> None:
    made = trainer(gate=1e-12, gate_steps=3)
    feed(made, 0, 3)  # too little to learn from: let through at once
    assert released(made) == [(0, step, 0) for step in range(3)]
    feed(made, 0, 1, first=3)
    for _ in range(3):
        assert len(released(made)) == 3
        made.tick()
    assert released(made)[3:] == [(0, 3, 3)]
    feed(made, 0, 1, first=4)
    feed(made, 0, 1, first=4)  # shown again while it waits
    for _ in range(3):
        made.tick()
    assert released(made)[4:] == [(0, 4, 3)]
    feed(made, 0, 1, first=4)  # nobody heard it: said again, nothing is trained for it
    assert released(made)[5:] == [(0, 4, 0)]
    feed(made, 1, 1)  # nothing leads to the first frame of an episode
    feed(made, 2, 1, held_out=True)
    assert released(made)[6:] == [(1, 0, 0), (2, 0, 0)]
    easy = trainer(gate=9.0)
    feed(easy, 0, 4)
    easy.tick()
    assert released(easy)[-1] == (0, 3, 1)


def test_a_pause_lets_the_robot_go_on(trainer: Any, feed: Any) -> None:
    made = trainer(gate=1e-12, gate_steps=1000)
    feed(made, 0, 4)
    assert released(made)[-1][1] == 2
    made.do_pause({})
    assert released(made)[-1][1] == 3
    feed(made, 0, 1, first=4)
    assert released(made)[-1][1] == 4


def test_a_gate_needs_a_robot_that_waits(trainer: Any, node: Any, message: Make, dot_robot: m.Robot) -> None:
    paced = node(TrainerNode, config(gate=0.1))
    with pytest.raises(NodeError, match="lockstep"):
        paced.on_robot(message("robot", msgspec.structs.replace(dot_robot, timing="paced")))
    with pytest.raises(ValueError, match="one of them"):
        config(gate=0.1, train_ratio=1.0)


def test_a_live_training_is_written_down(trainer: Any, feed: Any, tmp_path: Path) -> None:
    made = trainer()
    feed(made, 0, 8)
    made.tick()
    lines = [json.loads(line) for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert lines[0]["text"].startswith("learning rate 0.002, the default")
    assert lines[1]["kind"] == "step"
    assert "action_interval_s/median" in lines[1]


def test_nothing_but_nan_ends_the_run_with_one_line(trainer: Any, feed: Any) -> None:
    made = trainer(train={"batch_size": 4, "nan_patience": 3})
    feed(made, 0, 8)
    watch = made.core.watch
    for parameter in watch.learner.model.parameters():
        parameter.data.fill_(float("nan"))
    made.tick()
    made.tick()
    with pytest.raises(NodeError, match="3 updates in a row were not finite") as caught:
        made.tick()
    assert "\n" not in str(caught.value)
    assert watch.learner.steps == 3


def test_judging_stops_a_live_run(trainer: Any, feed: Any) -> None:
    stop = {"stop_on_plateau": True, "stop_patience": 2, "stop_min_improvement": 0.999}
    made = trainer(train={"batch_size": 4, "judge_every_samples": 4, **stop})
    feed(made, 0, 8)
    feed(made, 1, 4, held_out=True)
    for _ in range(4):
        made.tick()
    assert made.bus.said["outcome"] == "plateau"
    assert "held_out_mse" in made.bus.of("metrics")[-1].body.values
