"""Training steps: they learn, they survive nonsense, they resume exactly."""

import dataclasses
import json
import math

import numpy as np
import pytest
import safetensors.torch
import torch

from worldmodel.learner import Learner, TrainConfig
from worldmodel.spec import ModelSpec

SMALL = TrainConfig(batch_size=4, warmup_samples=8, precision="fp32")


def test_a_step_reports_and_learns(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(odd_spec, SMALL, "cpu")
    batch = random_batch(odd_spec)
    reports = [learner.step(batch) for _ in range(30)]
    first, last = reports[0], reports[-1]
    assert first["mse"] == pytest.approx(first["copy_last_mse"])  # untrained: a copy
    assert last["mse"] < 0.9 * first["mse"]
    assert last["grad_norm"] > 0
    assert last["skipped_nan"] == 0
    assert (learner.steps, learner.samples) == (30, 120)
    assert all(isinstance(value, float) for value in last.values())


def test_every_weight_gets_a_gradient(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(odd_spec, SMALL, "cpu")
    batch = random_batch(odd_spec)
    batch.actions[0, 0] = np.nan  # so that the "no action known" embedding is used
    before = {name: p.detach().clone() for name, p in learner.model.named_parameters()}
    for _ in range(3):
        learner.step(batch)
    same = [name for name, p in learner.model.named_parameters() if torch.equal(p, before[name])]
    assert same == []


def test_numbers_that_are_not_finite_change_no_weight(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(odd_spec, SMALL, "cpu")
    batch = random_batch(odd_spec)
    learner.step(batch)
    before = learner.weights_bytes()
    bad = dataclasses.replace(batch, actions=np.full_like(batch.actions, np.inf))
    report = learner.step(bad)
    assert report["skipped_nan"] == 1
    assert learner.weights_bytes() == before
    after = learner.step(batch)
    assert math.isfinite(after["loss"])
    assert after["skipped_nan"] == 1
    assert learner.weights_bytes() != before


def test_resume_is_exact(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    batches = [random_batch(odd_spec, seed=seed) for seed in range(6)]
    straight, first = Learner(odd_spec, SMALL, "cpu"), Learner(odd_spec, SMALL, "cpu")
    for batch in batches:
        straight.step(batch)
    for batch in batches[:3]:
        first.step(batch)
    first.rng.random(5)
    tensors, values = first.state()
    second = Learner(odd_spec, SMALL, "cpu")
    second.load_state(tensors, json.loads(json.dumps(values)))
    assert second.rng.random() == first.rng.random()
    for batch in batches[3:]:
        second.step(batch)
    assert second.weights_bytes() == straight.weights_bytes()
    assert (second.steps, second.samples) == (straight.steps, straight.samples)


def test_a_state_of_another_model_is_refused(odd_spec: ModelSpec) -> None:
    learner = Learner(odd_spec, SMALL, "cpu")
    tensors, values = learner.state()
    with pytest.raises(ValueError, match="no use for"):
        learner.load_state({**tensors, "model.extra": torch.zeros(1)}, values)
    del tensors["ema.query"]
    with pytest.raises(ValueError, match=r"no tensor 'ema\.query'"):
        learner.load_state(tensors, values)


def test_the_same_seed_gives_the_same_weights(odd_spec: ModelSpec) -> None:
    torch.manual_seed(1)
    one = Learner(odd_spec, SMALL, "cpu").weights_bytes()
    torch.manual_seed(2)
    assert Learner(odd_spec, SMALL, "cpu").weights_bytes() == one


def test_weights_are_safetensors_in_fp32_and_name_their_spec(odd_spec: ModelSpec) -> None:
    learner = Learner(odd_spec, SMALL, "cpu")
    data = learner.weights_bytes()
    tensors = safetensors.torch.load(data)
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    assert odd_spec.hash.encode() in data


def test_windows_of_another_length_are_refused(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    batch = random_batch(odd_spec)
    with pytest.raises(ValueError, match="the model needs"):
        Learner(odd_spec, SMALL, "cpu").step(dataclasses.replace(batch, actions=batch.actions[:, :2]))
