"""Checkpoints: whole or not there, and never of the wrong model."""

import json
import os
from pathlib import Path

import pytest

from worldmodel import checkpoint
from worldmodel.learner import Learner, TrainConfig
from worldmodel.predictor import FramePredictor
from worldmodel.spec import ModelSpec, model_spec

SMALL = TrainConfig(batch_size=4, warmup_samples=8, precision="fp32")


def test_save_load_and_continue(tmp_path: Path, odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner, batch = Learner(odd_spec, SMALL, "cpu"), random_batch(odd_spec)
    learner.step(batch)
    path = checkpoint.save(tmp_path, learner, {"session": "abc"})
    found = checkpoint.load(path, odd_spec)
    assert found.metadata == {"session": "abc"}
    assert found.config == SMALL
    again = found.learner(device="cpu")
    assert again.step(batch) == learner.step(batch)
    assert again.weights_bytes() == learner.weights_bytes()
    FramePredictor(found.spec, found.weights(), "cpu")


def test_only_the_newest_stay(tmp_path: Path, odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner, batch = Learner(odd_spec, SMALL, "cpu"), random_batch(odd_spec)
    assert checkpoint.latest(tmp_path) is None
    paths = []
    for _ in range(4):
        learner.step(batch)
        paths.append(checkpoint.save(tmp_path, learner, keep=2))
    assert sorted(tmp_path.iterdir()) == paths[2:]
    assert checkpoint.latest(tmp_path) == paths[3]


def test_a_new_run_in_an_old_folder_is_the_newest(tmp_path: Path, odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(odd_spec, SMALL, "cpu")
    learner.step(random_batch(odd_spec))
    checkpoint.save(tmp_path, learner, keep=1)
    fresh = checkpoint.save(tmp_path, Learner(odd_spec, SMALL, "cpu"), keep=1)
    assert list(tmp_path.iterdir()) == [fresh]
    assert checkpoint.load(fresh).values["samples"] == 0


def test_a_crash_before_the_rename_leaves_the_old_one(
    tmp_path: Path,
    odd_spec: ModelSpec,
    random_batch,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    learner, batch = Learner(odd_spec, SMALL, "cpu"), random_batch(odd_spec)
    old = checkpoint.save(tmp_path, learner)
    learner.step(batch)

    def crash(*_: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(os, "rename", crash)
    with pytest.raises(OSError, match="power cut"):
        checkpoint.save(tmp_path, learner)
    monkeypatch.undo()
    assert checkpoint.latest(tmp_path) == old
    assert checkpoint.save(tmp_path, learner) == checkpoint.latest(tmp_path) != old


def test_half_a_checkpoint_is_not_seen(tmp_path: Path, odd_spec: ModelSpec) -> None:
    path = checkpoint.save(tmp_path, Learner(odd_spec, SMALL, "cpu"))
    half = tmp_path / "000999-samples-77"
    half.mkdir()
    (half / "checkpoint.json").write_text("{}")
    assert checkpoint.latest(tmp_path) == path
    with pytest.raises(checkpoint.CheckpointError, match=r"tensors\.safetensors is missing"):
        checkpoint.load(half)


def test_damage_is_named(tmp_path: Path, odd_spec: ModelSpec) -> None:
    path = checkpoint.save(tmp_path, Learner(odd_spec, SMALL, "cpu"))
    tensors = path / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-100])
    with pytest.raises(checkpoint.CheckpointError, match="is damaged"):
        checkpoint.load(path)


def test_an_edited_spec_is_noticed(tmp_path: Path, odd_spec: ModelSpec) -> None:
    path = checkpoint.save(tmp_path, Learner(odd_spec, SMALL, "cpu"))
    record = json.loads((path / "checkpoint.json").read_text())
    record["spec"]["heads"] = 4
    (path / "checkpoint.json").write_text(json.dumps(record))
    with pytest.raises(checkpoint.CheckpointError, match="was edited"):
        checkpoint.load(path)


def test_another_model_is_refused_with_both_values(tmp_path: Path, odd_spec: ModelSpec) -> None:
    path = checkpoint.save(tmp_path, Learner(odd_spec, SMALL, "cpu"))
    wanted = model_spec(odd_spec.cameras, odd_spec.actions, context=2, width=48, heads=2, encoder_depth=1, decoder_depth=1)
    with pytest.raises(checkpoint.SpecMismatch, match="width: checkpoint 32, wanted 48") as caught:
        checkpoint.load(path, wanted)
    assert caught.value.fields == {"context": (3, 2), "width": (32, 48)}


def test_metadata_must_be_json(tmp_path: Path, odd_spec: ModelSpec) -> None:
    with pytest.raises(checkpoint.CheckpointError, match="cannot be written as JSON"):
        checkpoint.save(tmp_path, Learner(odd_spec, SMALL, "cpu"), {"x": object()})
    assert list(tmp_path.iterdir()) == []
