"""`toddle checkpoints`: what was kept, told, compared and pruned; bad input is one line."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from launch.graph import Table
from protocol.wiring import Endpoints, Peer
from toddle.cli import cli
from worldmodel import checkpoint
from worldmodel.batch import Batch
from worldmodel.learner import Learner, TrainConfig
from worldmodel.spec import ActionSpace, Camera, ModelSpec, model_spec

SPEC = model_spec((Camera("top", 16, 24),), ActionSpace(("go",), ((0.0,), (1.0,))), width=16, heads=1, encoder_depth=1, decoder_depth=1)
Do = Callable[..., Result]


def learn(folder: Path, scores: list[float | None], spec: ModelSpec = SPEC, **config: Any) -> list[Path]:
    learner = Learner(spec, TrainConfig(batch_size=2, precision="fp32", **config), "cpu")
    rng = np.random.default_rng(0)
    frames = {c.name: rng.integers(0, 255, (2, 3, c.height, c.width, 3), dtype=np.uint8) for c in spec.cameras}
    paths = []
    for score in scores:
        learner.step(Batch(frames, np.zeros((2, 2, 1), np.float32)))
        held_out = {"score": "skill_copy_last", "better": "higher", "cases": 64}
        metadata = {"run": "made", "sessions": ["a", "b"], "scores": {"skill_copy_last": score}, "held_out": held_out}
        paths.append(checkpoint.save(folder, learner, metadata, keep=len(scores)))
    return paths


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return learn(tmp_path_factory.mktemp("learned"), [0.1, 0.9, None, 0.5])


@pytest.fixture
def paths(tmp_path: Path, learned: list[Path]) -> list[Path]:
    """A run `made` with four checkpoints, one's own to change."""
    copy = shutil.copytree(learned[0].parent, tmp_path / "made" / "checkpoints")
    (tmp_path / "made" / "run.json").write_text("{}")
    return [copy / path.name for path in learned]


@pytest.fixture
def do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Do:
    monkeypatch.setenv("TODDLE_RUNS", str(tmp_path))
    return lambda *words, **more: CliRunner().invoke(cli, ["checkpoints", *map(str, words)], **more)


def test_a_list_marks_the_newest_and_the_best(do: Do, paths: list[Path]) -> None:
    said = do("list", "made")
    assert said.exit_code == 0
    rows = {line.split()[0]: line for line in said.output.splitlines() if "samples-" in line}
    assert list(rows) == [path.name for path in paths]
    assert rows[paths[1].name].split()[-1] == "best"
    assert rows[paths[3].name].split()[-1] == "newest"
    assert "compared by skill_copy_last on 64 held-out cases, higher is better" in said.output
    found = json.loads(do("list", paths[0].parent, "--json").output)
    assert [(one["name"], one["score"], one["best"]) for one in found] == [
        (path.name, score, score == 0.9) for path, score in zip(paths, (0.1, 0.9, None, 0.5), strict=True)
    ]
    assert found[0]["metadata"]["sessions"] == ["a", "b"]
    assert "torch" in found[0]["versions"]


def test_show_tells_what_it_is_made_of(do: Do, paths: list[Path]) -> None:
    said = do("show", "made/best").output
    for words in (str(paths[1]), "sessions  a, b", "4 samples in 2 steps", "skill_copy_last 0.9", "top 16x24", "batch_size 2", "torch"):
        assert words in said
    found = json.loads(do("show", paths[1], "--json").output)
    assert ModelSpec.from_json(json.dumps(found["spec"])) == SPEC
    count = sum(p.numel() for p in Learner(SPEC, TrainConfig(), "cpu").model.parameters())
    assert sum(found["parameters"].values()) == count
    assert {"embed", "encoder", "decoder", "head"} <= set(found["parameters"])


@pytest.mark.parametrize(("word", "place"), [("made", 3), ("made/best", 1), ("made/3", 2), ("made/000001-samples-2", 0)])
def test_a_checkpoint_is_named_in_many_ways(do: Do, paths: list[Path], word: str, place: int) -> None:
    assert json.loads(do("show", word, "--json").output)["name"] == paths[place].name


def test_compare_tells_how_far_the_weights_went(do: Do, paths: list[Path]) -> None:
    found = json.loads(do("compare", "made/1", "made/4", "--json").output)
    assert (found["model"], found["training"], found["learned"]) == ({}, {}, {"samples": [2, 8]})
    assert found["scores"] == {"skill_copy_last": [0.1, 0.5]}
    mine, theirs = (checkpoint.load(paths[place]).weights()["embed.weight"].numpy() for place in (0, 3))
    both = [checkpoint.load(paths[place]).weights()["embed.bias"].numpy() for place in (0, 3)]
    embed = next(one for one in found["weights"] if one["name"] == "embed")
    expected = np.sqrt(((theirs - mine) ** 2).sum() + ((both[1] - both[0]) ** 2).sum())
    assert embed["distance"] == pytest.approx(expected, rel=1e-5)
    assert embed["relative"] == pytest.approx(expected / np.sqrt((mine**2).sum() + (both[0] ** 2).sum()), rel=1e-5)
    itself = json.loads(do("compare", "made/1", "made/1", "--json").output)["weights"]
    assert all(one["distance"] == 0 and one["cosine"] == pytest.approx(1.0) for one in itself)


def test_compare_tells_of_other_models(do: Do, paths: list[Path], tmp_path: Path) -> None:
    deeper = msgspec.structs.replace(SPEC, encoder_depth=2, mlp_ratio=2)
    learn(tmp_path / "other", [0.3], deeper, lr=0.5)
    said = do("compare", "made", tmp_path / "other")
    assert said.exit_code == 0
    found = json.loads(do("compare", "made", tmp_path / "other", "--json").output)
    assert found["model"] == {"encoder_depth": [1, 2], "mlp_ratio": [4, 2]}
    assert found["training"]["lr"] == [0.002, 0.5]
    layers = {one["name"]: one for one in found["weights"]}
    assert layers["encoder.1"]["distance"] is None
    assert layers["encoder.0"]["distance"] is None, "of another shape"
    assert layers["embed"]["distance"] > 0
    assert "only in one" in said.output


def test_prune_asks_and_keeps_the_newest_and_the_best(do: Do, paths: list[Path]) -> None:
    dry = do("prune", "made", "--keep", "1", "--dry-run")
    assert dry.output.count("would delete 0000") == 2
    asked = do("prune", "made", "--keep", "1", input="n\n")
    assert asked.exit_code == 1
    assert all(path.exists() for path in paths)
    done = do("prune", "made", "--keep", "1", input="y\n")
    assert done.exit_code == 0
    assert sorted(paths[0].parent.iterdir()) == [paths[1], paths[3]]
    last = json.loads(do("prune", "made", "--keep", "1", "--best", "0", "--yes", "--json").output)
    assert (last["deleted"], last["kept"]) == ([paths[1].name], [paths[3].name])
    assert do("prune", "made", "--keep", "0").exit_code == 2
    assert do("prune", "made", "--keep", "1", "--best", "0", "--yes").output.startswith("deleted 0 of 1")


def running(folder: Path, resume: str) -> None:
    """A run of ours whose launcher lives."""
    folder.mkdir(parents=True, exist_ok=True)
    launcher = Peer("launcher", "launcher", Endpoints("", "", ""))
    table = Table(run=folder.name, run_dir=str(folder), pid=os.getppid(), nodes=[], launcher=launcher)
    (folder / "run.json").write_text("{}")
    (folder / "launch.json").write_text(json.dumps({"nodes": {"trainer": {"params": {"resume": resume, "model": "small", "seed": 0}}}}))
    (folder / "graph.json").write_bytes(msgspec.json.encode(table))


def test_what_a_running_graph_uses_is_not_pruned(do: Do, paths: list[Path], tmp_path: Path) -> None:
    running(tmp_path / "again", str(paths[0]))
    assert do("prune", "made", "--keep", "1", "--yes").exit_code == 0
    assert sorted(paths[0].parent.iterdir()) == [paths[0], paths[1], paths[3]]
    learn(tmp_path / "again" / "checkpoints", [0.1, 0.2])
    refused = do("prune", "again", "--keep", "1", "--yes")
    assert refused.exit_code == 2
    assert f"'again' is still running (process {os.getppid()})" in refused.output
    (tmp_path / "again" / "summary.json").write_text("{}")  # it has ended
    assert do("prune", "made", "--keep", "1", "--yes").exit_code == 0
    assert sorted(paths[0].parent.iterdir()) == [paths[1], paths[3]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["list", "mad"], "'mad' is no run and no folder with checkpoints; did you mean 'made'?"),
        (["show", "made/77"], "has no checkpoint '77'"),
        (["show", "nowhere/best"], "'nowhere' is no run"),
        (["compare", "made", "empty"], "run empty has no checkpoint"),
        (["show", "half"], "tensors.safetensors is missing"),
        (["show", "other"], "not of format 2"),
        (["compare", "made", "cut"], "is damaged"),
        (["prune", "empty"], "run empty has no checkpoint"),
    ],
)
def test_bad_input_is_one_line(do: Do, paths: list[Path], tmp_path: Path, words: list[str], said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "run.json").write_text("{}")
    for name in ("half", "other", "cut"):
        (tmp_path / name).mkdir()
        for file in paths[0].iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
    (tmp_path / "half" / "tensors.safetensors").unlink()
    (tmp_path / "other" / "checkpoint.json").write_text('{"format": 3}')
    os.truncate(tmp_path / "cut" / "tensors.safetensors", 99)
    result = do(*words)
    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert said in result.output


def test_a_damaged_one_does_not_hide_the_others(do: Do, paths: list[Path]) -> None:
    (paths[1] / "checkpoint.json").write_text("{")
    result = do("list", "made")
    assert result.exit_code == 0
    assert result.stdout.count("samples-") == 3
    assert result.stderr.startswith(f"cannot be read: checkpoint {paths[1].name} is damaged")


def test_names_are_completed(do: Do, paths: list[Path], tmp_path: Path) -> None:
    def offered(*words: str) -> list[str]:
        complete = ShellComplete(cli, {}, "toddle", "_TODDLE_COMPLETE")
        return [one.value for one in complete.get_completions(["checkpoints", *words[:-1]], words[-1])]

    assert offered("list", "ma") == ["made"]
    assert offered("show", "made/b") == ["made/best"]
    assert offered("compare", "made", "made/000002") == [f"made/{paths[1].name}"]
    assert offered("show", "nowhere/") == []
