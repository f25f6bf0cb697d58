"""A checkpoint on recorded sessions: which rows there are, what stands in them, and what `toddle evaluate` makes of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nodes.robot.dot import ToroidalDot
from nodes.trainer.evaluation import Evaluation, EvaluationError, Settings, evaluate
from nodes.trainer.history import History
from nodes.trainer.recorded import Recorded
from nodes.worlds import model_actions, model_cameras
from protocol import messages as m
from storage.views import open_session
from storage.writer import SessionWriter
from toddle.evaluate import evaluate as command
from worldmodel import checkpoint
from worldmodel.learner import Learner, TrainConfig
from worldmodel.source import Arrays
from worldmodel.spec import ModelSpec, model_spec

OPTIONS = {"size": 32, "radius": 2, "step": 5, "probe_states": 6}
ROBOT = m.Robot(
    robot="robot", driver="toroidal_dot", params={}, cameras=[m.CameraInfo(name="top", height=32, width=32)],
    actions=m.ActionSpaceInfo(names=["action"], choices=[{"action": 0.0}, {"action": 1.0}]), rate_hz=10.0, timing="lockstep",
    safe_action={"action": 0.0},
)  # fmt: skip
STEPS = 20


def record(path: Path, episodes: int) -> Arrays:
    """Episodes of the dot world, the last one held out, with a probe; and what was recorded."""
    dot, random = ToroidalDot(OPTIONS, 1), np.random.default_rng(1)
    told = dot.probe()
    assert told is not None
    frames, actions = [], []
    at = 0

    def head(kind: str, seq: int, episode: int | None, step: int | None) -> m.Envelope:
        return m.Envelope(topic=f"{kind}/robot", source="robot", run="r", seq=seq, t_ns=at, mono_ns=at, episode=episode, step=step)

    with SessionWriter.create(path, robot=ROBOT) as writer:
        writer.append(m.Message(envelope=head("probe", 0, None, None), body=m.Probe(description=told[0]), arrays=told[1]))
        for episode in range(episodes):
            dot.reset()
            held_out = episode == episodes - 1
            writer.append(m.Message(envelope=head("episode", episode, episode, 0), body=m.EpisodeMark(mark="start", held_out=held_out)))
            for step in range(STEPS):
                at += 10**8
                picture, action = dot.observe().images["top"], float(random.integers(2))
                number = episode * STEPS + step
                body = m.Frame(held_out=held_out)
                writer.append(m.Message(envelope=head("frame", number, episode, step), body=body, arrays={"image/top": picture}))
                taken = m.ActionTaken(action={"action": action}, by="test", start_ns=at, end_ns=at)
                writer.append(m.Message(envelope=head("action", number, episode, step), body=taken))
                dot.execute({"action": action})
                frames.append(picture)
                actions.append([action])
    return Arrays({"top": np.array(frames)}, np.array(actions), np.repeat(np.arange(episodes), STEPS), context=2)


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    cameras, actions = model_cameras(ROBOT.cameras), model_actions(ROBOT.actions)
    return model_spec(cameras, actions, patch=8, width=32, heads=2, encoder_depth=1, decoder_depth=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, spec: ModelSpec) -> tuple[Path, Arrays, Path]:
    """(sessions, what is in `walk`, a checkpoint that has learned nothing: it copies)."""
    root = tmp_path_factory.mktemp("sessions")
    arrays = record(root / "walk", 4)
    return root, arrays, checkpoint.save(root / "checkpoints", Learner(spec, TrainConfig(), "cpu"))


def test_recorded_windows_are_those_of_the_arrays(place: tuple[Path, Arrays, Path], spec: ModelSpec) -> None:
    root, arrays, _ = place
    with open_session(root / "walk") as reader:
        source = Recorded.whole([reader], [camera.name for camera in spec.cameras], spec.context)
        ours, theirs = source.ids(3), arrays.ids(3)
        assert source.step(ours).tolist() == [step for _ in range(4) for step in range(STEPS - 3)] and len(ours) == len(theirs)
        mine, wanted = source.windows(ours[:4], 3), arrays.windows(theirs[:4], 3)
        assert (mine.frames["top"] == wanted.frames["top"]).all()
        np.testing.assert_array_equal(mine.actions, wanted.actions)
        assert len(source.part(source.ids()[source.episode(source.ids()) == 1]).ids(16)) == STEPS - 16


def test_every_group_has_its_row(place: tuple[Path, Arrays, Path]) -> None:
    root, _, path = place
    steps = [range(STEPS)]
    history = History({("walk", 0): steps, ("walk", 1): steps}, {("walk", 3): steps})
    with open_session(root / "walk") as reader:
        rows = evaluate(checkpoint.load(path), [reader], history, Settings("cpu", windows=24, rollouts=3))
    assert [row.on for row in rows] == ["probe", "episodes learned from", "held-out episodes", "unseen episodes"]
    probe, learned, held_out, _ = rows
    assert probe.states is not None and probe.states.states == 6 and probe.states.place is not None
    assert probe.scores.skill_copy_last == pytest.approx(0.0, abs=1e-6) and probe.scores.cf_accuracy == 0.5
    assert learned.seen_in_training and "nearest neighbour" in learned.windows.missing  # type: ignore[union-attr]
    assert held_out.scores.nearest_neighbour_error is not None and held_out.cases == STEPS - 1
    assert held_out.losses is not None and held_out.losses.observations == STEPS - 1
    assert held_out.losses.standard.mean == pytest.approx(held_out.scores.copy_last_error, rel=1e-4)
    assert held_out.windows is not None and held_out.windows.inference is not None and held_out.windows.original is not None
    assert held_out.rollouts is not None and len(held_out.rollouts.steps) == 16 and held_out.rollouts.steps[0].mass.value == 1.0  # type: ignore[union-attr]


def test_a_neighbour_may_be_in_any_session(place: tuple[Path, Arrays, Path], tmp_path: Path) -> None:
    root, _, path = place
    record(tmp_path / "again", 4)  # the same once more
    steps = [range(STEPS)]
    history = History({("walk", 0): steps, **{("again", episode): steps for episode in range(4)}}, {("walk", 3): steps})
    with open_session(root / "walk") as walk, open_session(tmp_path / "again") as again:
        rows = evaluate(checkpoint.load(path), [walk, again], history, Settings("cpu", windows=24, rollouts=0))
    (held_out,) = (row for row in rows if row.on == "held-out episodes")
    assert held_out.scores.nearest_neighbour_error == 0.0 < held_out.scores.copy_last_error


def test_an_episode_of_which_a_part_was_held_out_is_scored_in_its_parts(place: tuple[Path, Arrays, Path]) -> None:
    root, _, path = place
    learned, held_out = {("walk", 0): [range(10)], ("walk", 1): [range(5)]}, {("walk", 0): [range(11, STEPS)]}
    with open_session(root / "walk") as reader:
        scored = Evaluation(checkpoint.load(path), [reader], History(learned, held_out), Settings("cpu"), None)
    (groups,) = scored.groups
    found = {
        name: [(int(e), int(s)) for e, s in zip(part.episode(part.ids()), part.step(part.ids()), strict=True)]
        for name, part in groups.items()
    }
    assert found["episodes learned from"] == [(0, step) for step in range(9)] + [(1, step) for step in range(4)]
    assert found["held-out episodes"] == [(0, step) for step in range(11, STEPS - 1)]  # what crosses the border is in neither
    assert found["episodes learned from in part"] == [(1, step) for step in range(4, STEPS - 1)]
    assert len(groups["episodes learned from"].ids(9)) == 1  # rollouts stay in their part


def test_a_twin_must_be_blind(place: tuple[Path, Arrays, Path]) -> None:
    root, _, path = place
    with open_session(root / "walk") as reader, pytest.raises(EvaluationError, match="was trained with actions"):
        evaluate(checkpoint.load(path), [reader], History(), Settings("cpu"), checkpoint.load(path))


def test_the_command_writes_tables_json_and_pictures(place: tuple[Path, Arrays, Path], tmp_path: Path) -> None:
    root, _, path = place
    words = [str(path), "walk", "--root", str(root), "--windows", "16", "--rollouts", "2", "--device", "cpu"]
    pictures, written = tmp_path / "pictures", tmp_path / "scores.json"
    done = CliRunner().invoke(command, [*words, "--json", str(written), "--pictures", str(pictures)])
    assert done.exit_code == 0, done.output
    assert "walk: probe" in done.output and "copy last" in done.output and max(map(len, done.output.splitlines())) <= 100
    scores = json.loads(written.read_text())
    assert [row["on"] for row in scores["scores"]] == ["probe", "unseen episodes"] and scores["progress"] is None
    assert scores["scores"][0]["states"]["missing"]["blind twin"]
    assert {file.name for file in pictures.iterdir()} == {
        "walk-probe-counterfactuals.png", "walk-unseen-episodes-predictions.png", "walk-unseen-episodes-errors.png",
        "walk-unseen-episodes-rollouts.png", "horizons.png", "losses.png",
    }  # fmt: skip
    wrong = CliRunner().invoke(command, [*words, "--twin", str(path)])
    assert wrong.exit_code == 2 and wrong.output.count("\n") == 1 and "action_blind" in wrong.output
