"""What the live trainer writes beside the weights, and which of its checkpoints stay."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from nodes.trainer.config import TrainerConfig
from nodes.trainer.core import TrainerCore
from nodes.trainer.node import TrainerNode
from protocol import messages as m
from worldmodel import kept
from worldmodel.evaluate import Scores

Make = Callable[..., m.Message]
TINY = {"width": 32, "heads": 2, "encoder_depth": 1, "decoder_depth": 1}


@pytest.fixture
def trainer(node: Any, message: Make, dot_robot: m.Robot) -> Callable[..., Any]:
    """One that has seen six steps of an episode that is played again, and six that are held out."""

    def make(**changes: Any) -> Any:
        settings = {"spec": TINY, "train": {"batch_size": 4}, "device": "cpu", "min_transitions": 3, "eval_every_s": 1000.0, **changes}
        made = node(TrainerNode, TrainerConfig(**settings))
        made.on_robot(message("robot", dot_robot))
        for episode, held_out in ((0, False), (1, True)):
            mark = m.EpisodeMark(mark="start", held_out=held_out, origin_session="walk", origin_episode=episode)
            made.on_episode(message("episode", mark, episode=episode))
            for step in range(6):
                image = {"image/top": np.full((16, 16, 3), 10 * episode + step, np.uint8)}
                made.on_frame(message("frame", m.Frame(held_out=held_out), image, episode, step))
                taken = m.ActionTaken(action={"action": float(step % 2)}, by="x", start_ns=0, end_ns=0, success=True)
                made.on_action(message("action", taken, episode=episode, step=step))
        return made

    return make


def test_a_checkpoint_says_what_it_learned_from_and_how_it_was_scored(trainer: Any, tmp_path: Path) -> None:
    made = trainer()
    made.tick()
    made.do_checkpoint({})
    one = kept.listed(tmp_path / "checkpoints")[-1]
    assert one.record.metadata["sessions"] == ["walk"]
    assert one.held_out == kept.HeldOut("skill_copy_last", "higher", 5)
    assert set(one.scores) >= {"skill_copy_last", "prediction_error"}, "scored although no score was due: of these weights"
    assert one.score is None, "five cases are noise"


def test_of_a_live_run_it_is_the_session_that_is_recorded(trainer: Any, tmp_path: Path) -> None:
    made = trainer()
    made._sessions_played.clear()
    (tmp_path / "session-recorder").write_text("afternoon")
    made.tick()
    made.do_checkpoint({})
    again = trainer()
    again.tick()
    again.do_checkpoint({})
    found = [one.record.metadata["sessions"] for one in kept.listed(tmp_path / "checkpoints")]
    assert found == [["afternoon"], ["afternoon", "walk"]]


def test_the_best_stays_when_the_model_gets_worse(trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_step = [0.99, 0.2, 0.9, float("nan"), 0.4, 0.3]
    monkeypatch.setattr(TrainerCore, "score", lambda self: Scores(None, None, by_step[self.learner.steps], None, 0.1, 0.1))
    monkeypatch.setattr(TrainerCore, "scored_cases", lambda self: 100)
    made = trainer(checkpoint_keep=1, checkpoint_best=1)
    for _ in range(5):
        made.tick()
        made.do_checkpoint({})
    assert [one.score for one in kept.listed(tmp_path / "checkpoints")] == [0.9, 0.3]
    with pytest.raises(ValueError, match="checkpoint_best is -1"):
        TrainerConfig(checkpoint_best=-1)
