"""`toddle attention`: a picture and numbers of a recorded step; bad input is one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from protocol import messages as m
from storage.writer import SessionWriter
from toddle.cli import cli
from worldmodel import checkpoint
from worldmodel.learner import Learner, TrainConfig
from worldmodel.spec import ActionSpace, Camera, model_spec

Do = Callable[..., Result]
JUMP = (1, 4)
"""Episode and step after which most changes."""


def session(path: Path) -> None:
    """Two episodes of eight grey frames in which a white square walks, and once jumps."""
    robot = m.Robot(
        robot="robot", driver="x", params={}, cameras=[m.CameraInfo(name="front", height=24, width=32)],
        actions=m.ActionSpaceInfo(names=["dx"], choices=[{"dx": 0.0}, {"dx": 1.0}]), rate_hz=10.0, timing="paced", safe_action={"dx": 0.0},
    )  # fmt: skip

    def message(topic: str, seq: int, body: Any, arrays: Any = None, **place: int) -> m.Message:
        envelope = m.Envelope(topic=topic, source="robot", seq=seq, run="made", t_ns=10**18 + seq, mono_ns=seq, **place)
        return m.Message(envelope=envelope, body=body, arrays=arrays or {})

    with SessionWriter.create(path) as writer:
        writer.append(message("robot/robot", 0, robot))
        for seq in range(16):
            place = {"episode": seq // 8, "step": seq % 8}
            picture = np.full((24, 32, 3), 40, np.uint8)
            left = 16 if (seq // 8, seq % 8) > JUMP and seq >= 8 else seq % 8
            picture[8:16, left : left + 8] = 255
            writer.append(message("frame/robot", seq, m.Frame(), {"image/front": picture}, **place))
            taken = m.ActionTaken(action={"dx": float(seq % 2)}, by="random", start_ns=seq, end_ns=seq + 1)
            writer.append(message("action/robot", seq, taken, **place))


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Do:
    """A run with a checkpoint, and the session that it recorded."""
    space = ActionSpace(("dx",), ((0.0,), (1.0,)))
    spec = model_spec((Camera("front", 24, 32),), space, patch=8, width=16, heads=2, encoder_depth=1, decoder_depth=2)
    session(tmp_path / "sessions" / "walk")
    checkpoint.save(tmp_path / "runs" / "made" / "checkpoints", Learner(spec, TrainConfig(), "cpu"))
    (tmp_path / "runs" / "made" / "run.json").write_text("{}")
    (tmp_path / "runs" / "made" / "session-recorder").write_text("walk")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TODDLE_RUNS", "runs")
    monkeypatch.setenv("TODDLE_SESSIONS", "sessions")
    return lambda *words: CliRunner().invoke(cli, ["attention", *map(str, words)])


def test_it_draws_the_step_in_which_most_changes(do: Do, tmp_path: Path) -> None:
    said = do("made")
    assert said.exit_code == 0, said.output
    assert "walk episode 1 step 4, decoder of runs/made/checkpoints/000001-samples-0" in said.output
    assert "entropy" in said.output
    assert "apa: none, no token" in said.output
    picture = cv2.imread(str(tmp_path / "attention.png"))
    assert picture is not None
    assert picture.std() > 1


def test_what_is_asked_for_is_what_is_told(do: Do, tmp_path: Path) -> None:
    words = ["--episode", 0, "--step", 3, "--select", "1,4-5", "--layers", 1, "--heads", "0-1", "--heads-by", "max", "--patches-by", "sum"]
    found = json.loads(do("made/1", "walk", *words, "--json").output)
    assert not list(tmp_path.glob("*.png"))
    assert (found["episode"], found["step"], found["patches"], found["of"]) == (0, 3, [1, 4, 5], 12)
    assert [layer["layer"] for layer in found["layers"]] == [1]
    assert [head["head"] for head in found["layers"][0]["heads"]] == [0, 1]
    assert len(found["tokens"]) == len(found["read"][0]["weights"]) == found["keys"] == 37
    assert found["tokens"][0] == {"kind": "patch", "frame": 0, "camera": "front", "row": 0, "column": 0, "box": [0, 0, 8, 8]}
    assert found["metrics"]["even"]["alf"] == pytest.approx(12 / 37)
    assert sum(found["read"][0]["weights"]) > 1.0, "a sum over patches of the largest over heads"
    for view in ("matrix", "overlay"):
        assert do("made", "--select", "all", "--view", view, "--out", f"{view}.png", *words[:4]).exit_code == 0
        assert (tmp_path / f"{view}.png").stat().st_size > 1000
    encoder = json.loads(do("made", "--stage", "encoder", "--select", "brightness:0.5", "--json").output)
    assert (encoder["metrics"], encoder["of"]) == (None, 25)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mad"], "did you mean 'made'?"),
        (["made", "nosuch"], "no session 'nosuch'"),
        (["made", "--episode", 7], "no transition at episode 7: there are episodes 0 to 1, with steps 0 to 6"),
        (["made", "--step", 7], "no transition at step 7"),
        (["made", "--layers", 2], "there is no layer 2: this model has layers 0 to 1"),
        (["made", "--heads", "1-x"], "'1-x' names no head"),
        (["made", "--select", 12], "there is no patch 12: they are 0 to 11"),
        (["made", "--select", "change:1"], "the largest is"),
        (["made", "--out", "nowhere/x.png"], "nowhere/x.png cannot be written: No such file"),
    ],
)
def test_bad_input_is_one_line(do: Do, words: list[Any], said: str) -> None:
    result = do(*words)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert said in result.output


def test_a_session_of_another_robot_is_refused(do: Do, tmp_path: Path) -> None:
    spec = model_spec((Camera("front", 24, 32),), ActionSpace(("left", "right"), low=(-1, -1), high=(1, 1)), width=16, heads=1)
    checkpoint.save(tmp_path / "other", Learner(spec, TrainConfig(), "cpu"))
    refused = do("other", "walk")
    assert refused.output == "Error: session walk has actions dx; the model was made for left, right\n"
    assert "names no session of its own" in do("other").output
