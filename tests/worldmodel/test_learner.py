"""Training steps: they learn, they survive nonsense, they resume exactly."""

import ctypes
import dataclasses
import json
import math
import resource
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch

from worldmodel.divergence import Divergence
from worldmodel.judging import Judgement
from worldmodel.learner import Learner, TrainConfig, TrainingFailed
from worldmodel.plateau import Plateau
from worldmodel.source import Arrays
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


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine", "total_samples": 100, "sampling": {"epoch": 1.0}},
        {"schedule": "plateau", "plateau_patience": 0, "sampling": {"recent": 0.3, "loss-weighted": 0.7}, "augment_shift": 1},
        {"schedule": "schedule-free", "sampling": {"prioritised": 1.0}, "loss": {"changed": 1.0, "rollout": 0.5}},
        {"schedule": "constant", "ema_decay": 0.0, "loss": {"hybrid": 1.0}, "action_blind": True},
    ],
)
def test_a_resumed_training_is_the_whole_one(odd_spec: ModelSpec, changes: dict[str, Any]) -> None:
    """2N steps are N steps, a state through JSON, and N steps: bit for bit, of everything the state holds."""
    config = msgspec.convert({"batch_size": 4, "warmup_samples": 8, "precision": "fp32", **changes}, TrainConfig)
    rng = np.random.default_rng(0)
    frames = {c.name: rng.integers(0, 256, (40, c.height, c.width, 3), dtype=np.uint8) for c in odd_spec.cameras}
    source = Arrays(frames, rng.uniform(0, 1, (40, 2)), np.repeat([0, 1], 20), odd_spec.context)
    sides = source.windows(source.ids()[:6]), source.windows(source.ids()[-6:])

    def trained(stops: bool) -> Learner:
        learner = Learner(odd_spec, config, "cpu")
        for step in range(8):
            if stops and step == 4:
                tensors, values = learner.state()
                learner = Learner(odd_spec, msgspec.convert(json.loads(json.dumps(values["config"], sort_keys=True)), TrainConfig), "cpu")
                learner.load_state(safetensors.torch.load(safetensors.torch.save(tensors)), json.loads(json.dumps(values)))
            learner.step(learner.draw(source))
            learner.judge(*sides)
        return learner

    one, other = trained(stops=True).state(), trained(stops=False).state()
    assert json.dumps(one[1], sort_keys=True) == json.dumps(other[1], sort_keys=True)
    assert set(one[0]) == set(other[0])
    assert [name for name, tensor in one[0].items() if not torch.equal(tensor, other[0][name])] == []


@pytest.mark.parametrize("schedules", [("schedule-free", "constant"), ("constant", "schedule-free")])
def test_another_optimizer_begins_with_the_averaged_weights(odd_spec: ModelSpec, random_batch, schedules: tuple[Any, Any]) -> None:  # type: ignore[no-untyped-def]
    first, second = (Learner(odd_spec, msgspec.structs.replace(SMALL, schedule=one), "cpu") for one in schedules)
    for seed in range(3):
        first.step(random_batch(odd_spec, seed=seed))
    second.load_state(*first.state())
    assert second.weights_bytes() == first.weights_bytes()
    for (_, weight), average in zip(second.model.named_parameters(), first.ema_state().values(), strict=True):
        assert torch.equal(weight, average)
    assert math.isfinite(second.step(random_batch(odd_spec))["loss"])
    third = Learner(odd_spec, second.config, "cpu")
    third.load_state(*second.state())  # nothing of the first optimizer is left in it
    for one in (second, third):
        one.step(random_batch(odd_spec))
    assert second.weights_bytes() == third.weights_bytes()


def test_a_rate_that_is_set_is_not_what_the_plateau_left(odd_spec: ModelSpec) -> None:
    config = msgspec.structs.replace(SMALL, schedule="plateau", warmup_samples=0)
    learner = Learner(odd_spec, config, "cpu")
    learner.judgement = Judgement(Plateau(best=0.1, bad=3, factor=0.5), divergence=Divergence(stopped=True))
    state = learner.state()
    for changes, lr in (({}, config.lr / 2), ({"lr": 0.01}, 0.01), ({"schedule": "constant"}, config.lr)):
        other = Learner(odd_spec, msgspec.structs.replace(config, **changes), "cpu")
        other.load_state(*state)
        assert other.lr == pytest.approx(lr)
        assert other.judgement.divergence.stopped
    learner.forget_source()
    assert learner.judgement == Judgement(Plateau(factor=0.5))


def test_importance_weights_count_and_samplers_are_told(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    config = TrainConfig(batch_size=4, precision="fp32", loss={"mse": 1.0}, sampling={"prioritised": 1.0})
    batch = dataclasses.replace(random_batch(odd_spec), ids=np.arange(4))
    plain = Learner(odd_spec, config, "cpu")
    whole = plain.step(batch)["loss"]
    assert plain.sample_losses.mean() == pytest.approx(whole, rel=1e-5)
    np.testing.assert_array_equal(plain.sampler.memory.losses, plain.sample_losses)
    halved = Learner(odd_spec, config, "cpu").step(dataclasses.replace(batch, weights=np.full(4, 0.5, np.float32)))
    assert halved["loss"] == pytest.approx(whole / 2, rel=1e-5)
    assert halved["mse"] == pytest.approx(whole / 2, rel=1e-5)


def test_judging_uses_one_function_on_both_sides(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(odd_spec, SMALL, "cpu")
    batch = random_batch(odd_spec)
    before = learner.weights_bytes()
    told = learner.judge(batch, batch)
    assert told["train_mse"] == told["held_out_mse"] == pytest.approx(learner.step(batch)["mse"], rel=1e-4)
    assert before != learner.weights_bytes()
    weights = [p.detach().clone() for p in learner.model.parameters()]
    learner.error(batch)
    assert all(torch.equal(p, kept) for p, kept in zip(learner.model.parameters(), weights, strict=True))


def test_after_enough_updates_in_a_row_training_ends(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(odd_spec, msgspec.structs.replace(SMALL, nan_patience=3), "cpu")
    batch = random_batch(odd_spec)
    bad = dataclasses.replace(batch, actions=np.full_like(batch.actions, np.inf))
    for one in (bad, bad, batch, bad, bad):
        learner.step(one)
    with pytest.raises(TrainingFailed, match="3 updates in a row were not finite"):
        learner.step(bad)


def test_the_dearer_numbers(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    learner = Learner(odd_spec, SMALL, "cpu")
    batch = random_batch(odd_spec)
    for _ in range(3):
        report = learner.step(batch, watch=True)
    names = [name for name, _ in learner.model.named_parameters()]
    assert all(f"grad/{name}" in report and f"update/{name}" in report for name in names)
    assert math.sqrt(sum(report[f"grad/{name}"] ** 2 for name in names)) == pytest.approx(min(1.0, report["grad_norm"]), rel=1e-3)
    assert 0 < report["update/embed.weight"] < 1
    assert report["explained_variance"] < 1
    assert report["update_p95"] > 0
    weights = [parameter.detach() for parameter in learner.model.parameters()]
    assert report["weight_norm"] == pytest.approx(math.sqrt(sum(float(weight.square().sum()) for weight in weights)), rel=1e-4)
    assert report["optimizer/exp_avg"] > 0 and report["optimizer/exp_avg_sq"] > 0
    assert 0 < report["frac_nonblack"] <= 1 and report["black_baseline"] > report["loss_nonblack"] > 0


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library than glibc keeps memory in its own way")
def test_training_takes_no_new_memory_at_every_step(odd_spec: ModelSpec, random_batch) -> None:  # type: ignore[no-untyped-def]
    """Every large tensor that is given back to the system is thousands of pages to map anew."""
    spec = msgspec.structs.replace(odd_spec, width=128)
    learner = Learner(spec, SMALL, "cpu")
    batch = random_batch(spec, 256)

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        learner.step(batch)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    assert min(faults() for _ in range(8)) < 200
