"""Which checkpoints of a folder stay: the newest, and the best by a held-out score that counts."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from worldmodel import checkpoint, kept
from worldmodel.learner import Learner, TrainConfig
from worldmodel.spec import ModelSpec

SMALL = TrainConfig(batch_size=4, precision="fp32")
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path, odd_spec: ModelSpec) -> Save:
    learner = Learner(odd_spec, SMALL, "cpu")

    def one(score: float | None, keep: int = 1, best: int = 2, better: str = "higher", cases: int = 100, **metadata: Any) -> Path:
        held_out = {"score": "skill", "better": better, "cases": cases}
        return checkpoint.save(tmp_path, learner, {"scores": {"skill": score}, "held_out": held_out, **metadata}, keep, best)

    return one


def names(folder: Path) -> list[int]:
    return [int(path.name[:6]) for path in sorted(folder.iterdir())]


def test_the_best_stay_beside_the_newest(save: Save, tmp_path: Path) -> None:
    for score in (0.5, 0.9, 0.1, 0.7, 0.2, 0.3):
        save(score)
    assert names(tmp_path) == [2, 4, 6]
    save(0.8)
    assert names(tmp_path) == [2, 7], "one that is both is kept by either, and takes nobody else's place"
    assert [one.score for one in kept.best_of(kept.listed(tmp_path), 3)] == [0.9, 0.8]


def test_where_lower_is_better_the_lowest_stay(save: Save, tmp_path: Path) -> None:
    for score in (0.5, 0.1, 0.9, 0.4, 0.8):
        save(score, better="lower")
    assert names(tmp_path) == [2, 4, 5]


@pytest.mark.parametrize("nothing", [math.nan, math.inf, None, "high"])
def test_what_is_no_score_is_never_best(save: Save, tmp_path: Path, nothing: Any) -> None:
    for score in (0.5, nothing, 0.1, nothing, nothing):
        save(score)
    assert names(tmp_path) == [1, 3, 5]
    assert kept.read(tmp_path / "000005-samples-0").score is None


def test_a_score_of_few_cases_is_never_best(save: Save, tmp_path: Path) -> None:
    save(0.5)
    save(0.99, cases=kept.FEWEST_CASES - 1)
    save(0.4, cases=kept.FEWEST_CASES)
    save(0.1)
    assert names(tmp_path) == [1, 3, 4]


def test_a_training_score_is_not_looked_at(save: Save, tmp_path: Path) -> None:
    save(0.5, best=1)
    save(0.4, best=1, loss=0.0)
    save(0.3, best=1, held_out=None)  # nobody says that this score is of held-out cases
    assert names(tmp_path) == [1, 3]


def test_only_those_compared_by_the_same_score_are_compared(save: Save, tmp_path: Path) -> None:
    save(0.9)
    save(0.2, better="lower")
    save(0.3, better="lower")
    save(0.4, better="lower")
    assert names(tmp_path) == [2, 3, 4]


def test_without_best_ones_only_the_newest_stay(save: Save, tmp_path: Path) -> None:
    for score in (0.9, 0.1, 0.2):
        save(score, best=0)
    assert names(tmp_path) == [3]


def test_a_checkpoint_says_when_and_with_what_it_was_made(save: Save) -> None:
    found = kept.read(save(0.5, sessions=["a", "b"]))
    assert found.record.made["at"].endswith("+00:00")
    assert {"python", "torch", "numpy"} <= set(found.record.made["versions"])
    assert found.record.metadata["sessions"] == ["a", "b"]
    assert found.record.values["config"]["seed"] == SMALL.seed
    assert found.samples == 0
    assert found.bytes > 10_000


def test_what_a_process_that_is_gone_left_is_swept_and_what_a_living_one_writes_is_not(save: Save, tmp_path: Path) -> None:
    left = [
        tmp_path / f".000009-samples-8.{pid}{end}" for pid, end in ((2**22 + 1, ".tmp"), (2**22 + 1, ".old.tmp"), (os.getppid(), ".tmp"))
    ]
    for folder in left:
        folder.mkdir()
    last = save(0.5)
    assert set(tmp_path.iterdir()) == {last, left[2]}


def test_a_full_disk_leaves_nothing_behind(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save(0.5)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save(0.6)
    assert list(tmp_path.iterdir()) == [first]


def test_old_checkpoints_still_load(save: Save, odd_spec: ModelSpec) -> None:
    """Without what came later: when it was made, and fields of the spec that have a default."""
    path = save(0.5)
    record = json.loads((path / "checkpoint.json").read_text())
    del record["made"], record["spec"]["mlp_ratio"], record["metadata"]["held_out"]
    record["spec_hash"] = hashlib.sha256(json.dumps(record["spec"], sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    (path / "checkpoint.json").write_text(json.dumps(record))
    found = checkpoint.load(path, odd_spec)
    assert found.spec == odd_spec
    assert found.learner(device="cpu").samples == 0
    assert kept.read(path).score is None


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / "checkpoint.json").write_text('{"format": 1}'), "not of format 2: .* train anew"),
        (lambda path: (path / "checkpoint.json").write_text('{"format": 2}'), "is damaged: .*missing required field"),
        (lambda path: (path / "checkpoint.json").write_text("[" * 9), "is damaged"),
        (lambda path: (path / "tensors.safetensors").write_bytes(b"x" * 40), "is damaged"),
        (lambda path: os.truncate(path / "tensors.safetensors", 5000), "is damaged"),
        (lambda path: (path / "tensors.safetensors").unlink(), "tensors.safetensors is missing"),
        (lambda path: shutil.rmtree(path), "checkpoint.json is missing"),
    ],
)
def test_damage_is_one_line_and_no_best_one(save: Save, tmp_path: Path, damage: Callable[[Path], Any], said: str) -> None:
    good, bad = save(0.5, keep=2), save(0.9, keep=2)
    damage(bad)
    for reading in (kept.read, checkpoint.load):
        with pytest.raises(checkpoint.CheckpointError, match=said) as caught:
            reading(bad)
        assert "\n" not in str(caught.value)
    assert [one.path for one in kept.listed(tmp_path)] == [good]
