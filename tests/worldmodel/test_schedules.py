"""Rates as pure functions, and the small machines that judge."""

import math
from typing import Any

import msgspec
import pytest

from worldmodel.divergence import Divergence
from worldmodel.judging import Judgement
from worldmodel.plateau import Plateau, Stall
from worldmodel.schedules import floor, rate, taken_over
from worldmodel.trainconfig import TrainConfig, train_config


def config(**changes: Any) -> TrainConfig:
    return TrainConfig(**{"batch_size": 10, "lr": 1.0, "warmup_samples": 100, "lr_min_ratio": 0.01, **changes})


def test_inverse_square_root_needs_no_end() -> None:
    made = config(decay_from_samples=1000)
    assert [rate(made, n) for n in (0, 90, 500, 4000)] == pytest.approx([0.1, 1.0, 1.0, 0.5])


def test_cosine_from_the_warm_up_to_the_end() -> None:
    made = config(schedule="cosine", total_samples=1100)
    assert [rate(made, n) for n in (0, 100, 600, 1100, 9999)] == pytest.approx([0.1, 1.0, 0.01 + 0.99 / 2, 0.01, 0.01])
    with pytest.raises(ValueError, match="set total_samples"):
        rate(config(schedule="cosine"), 0)


def test_constant_plateau_and_scaled_rates() -> None:
    assert rate(config(schedule="constant"), 10**9) == 1.0
    assert rate(config(schedule="plateau"), 500, factor=0.3) == pytest.approx(0.3)
    assert rate(config(schedule="constant", scale_lr=True), 500) == 10.0


@pytest.mark.parametrize("schedule", ["inverse-sqrt", "cosine", "constant", "plateau", "schedule-free"])
def test_no_rate_is_ever_below_the_floor(schedule: Any) -> None:
    made = config(schedule=schedule, total_samples=100_000, warmup_samples=100_000)
    for resumed in (made, taken_over(made, 99_000, 1e-12)):
        for samples in (0, 1, 99_000, 99_500, 99_990, 100_000, 10**12):
            assert rate(resumed, samples, factor=1e-9) >= floor(made) == 0.01


def test_a_run_that_is_taken_over_keeps_its_place_in_the_whole() -> None:
    more = taken_over(config(schedule="cosine", total_samples=2000, lr_min_ratio=0.0), 1000, 0.1)
    assert (more.resumed_at, more.resumed_warmup) == (1000, 50)
    whole = config(schedule="cosine", total_samples=2000, lr_min_ratio=0.0)
    assert rate(more, 1000) == pytest.approx(0.1)
    assert rate(more, 1025) == pytest.approx((0.1 + rate(whole, 1050)) / 2)
    assert rate(more, 1500) == rate(whole, 1500) > 0.1  # of 1900, not of the last 1000
    assert taken_over(config(), 1000, 0.1, share=0.9).resumed_warmup == 100  # without an end: the usual warm-up


def test_settings_are_checked_in_one_line() -> None:
    for wrong, says in (
        ({"wat": 1}, "no setting 'wat'"), ({"lr": "high"}, "Expected `float`"), ({"loss": {"wat": 1.0}}, "loss knows no 'wat'"),
        ({"sampling": {"uniform": 0.0}}, "a number above 0"), ({"schedule": "wat"}, "has no 'wat'; there are inverse-sqrt"),
        ({"warmup": 1}, "did you mean 'warmup_samples'"), ({"loss": {"chnged": 1.0}}, "did you mean 'changed'"),
        ({"warmup_samples": -1}, "at least 0"), ({"lr": float("nan")}, "above 0"), ({"ema_decay": 2}, "below 1"),
        ({"recent_window": 0}, "at least 1"),
        ({"loss": {"rollout": 1.0}, "rollout_steps": 1}, "begins with the second"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=says) as caught:
            train_config(wrong)
        assert "\n" not in str(caught.value)
    assert train_config({"seed": 3}, seed=1, batch_size=2) == TrainConfig(seed=3, batch_size=2)


def test_plateau_is_torchs_own_rule() -> None:
    torch = pytest.importorskip("torch")
    values = [1.0, 0.9, 0.91, 0.9, 0.95, 0.92, 0.5, 0.5, 0.5, 0.5, 0.5, 0.49999, 0.4, math.inf, 0.4, 0.41, 0.42]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2, threshold=1e-4, min_lr=0.2)
    ours, rates = Plateau(), []
    for value in values:
        theirs.step(value)
        ours = ours.step(value, patience=2, factor=0.5, least=0.2)
        rates.append((ours.factor, optimizer.param_groups[0]["lr"]))
    assert all(mine == other for mine, other in rates)
    assert {mine for mine, _ in rates} == {1.0, 0.5, 0.25, 0.2}


def test_a_stall_counts_from_its_first_value() -> None:
    stall = Stall()
    for value, bad in ((1.0, 0), (1.0, 1), (0.99, 2), (0.5, 0), (0.5, 1), (math.nan, 2), (0.5, 3)):
        stall = stall.step(value, patience=3, least=0.015, smoothing=1.0)
        assert (stall.bad, stall.stopped) == (bad, bad == 3)
    assert stall.step(0.1, 3, 0.015, 1.0).stopped  # for good
    smooth = Stall().step(1.0, 9, 0.0, 0.5).step(0.0, 9, 0.0, 0.5)
    assert smooth.average == smooth.best == 0.5


RULES = config(
    divergence_gap=0.02, divergence_ratio=2.0, divergence_patience=2, divergence_min_updates=3, judge_smoothing=1.0,
    spike_window=4, spike_frequency=0.75, spike_threshold=2.0, stop_on_divergence=True,
)  # fmt: skip


def judged(pairs: list[tuple[float, float]], rules: TrainConfig = RULES) -> list[Divergence]:
    made, every = Divergence(), []
    for train, held_out in pairs:
        made = made.step(train, held_out, rules)
        every.append(made)
    return every


def test_divergence_by_gap_after_the_first_updates() -> None:
    every = judged([(0.1, 0.13)] * 5)
    assert [bool(one.reason) for one in every] == [False, False, True, True, True]
    assert [one.stopped for one in every] == [False, False, False, True, True]
    assert "0.03000 above" in every[2].reason


def test_divergence_by_ratio() -> None:
    assert "2.50 times" in judged([(0.001, 0.0025)] * 3)[-1].reason
    assert not judged([(0.001, 0.0019)] * 9)[-1].reason
    assert judged([(0.0, 0.001)] * 3)[-1].reason  # a train error of 0 divides nothing


def test_one_good_judgement_resets_the_patience() -> None:
    every = judged([(0.1, 0.1)] * 2 + [(0.1, 0.2), (0.1, 0.1), (0.1, 0.2), (0.1, 0.2)])
    assert [one.bad for one in every] == [0, 0, 1, 0, 1, 2]
    assert every[-1].stopped


def test_divergence_by_spikes_needs_a_full_window() -> None:
    rules = msgspec.structs.replace(RULES, divergence_gap=9.0, divergence_ratio=99.0, judge_smoothing=0.01)
    every = judged([(0.001, 0.001)] + [(0.001, 0.0025)] * 3, rules)
    assert [bool(one.reason) for one in every] == [False, False, False, True]
    assert "3 of the last 4" in every[-1].reason
    assert not judged([(0.001, 0.0025)] * 9, rules)[-1].reason  # the best is what it was from the first on


def test_both_sides_are_smoothed_alike() -> None:
    rules = msgspec.structs.replace(RULES, judge_smoothing=0.5)
    last = judged([(0.1, 0.1), (0.0, 0.2)], rules)[-1]
    assert (last.train, last.held_out) == (pytest.approx(0.05), pytest.approx(0.15))


def test_what_is_not_finite_diverges_and_is_never_the_best() -> None:
    every = judged([(0.1, math.nan), (math.inf, 0.1), (0.1, 0.1)])
    assert [one.reason for one in every] == ["the loss is not finite"] * 2 + [""]
    assert every[1].stopped
    assert every[-1].best == 0.1


def test_a_judgement_survives_json_and_says_why_it_stops() -> None:
    rules = msgspec.structs.replace(RULES, schedule="plateau", plateau_patience=0, stop_on_plateau=True, stop_patience=99)
    made = Judgement()
    for _ in range(4):
        made = msgspec.convert(msgspec.json.decode(msgspec.json.encode(msgspec.to_builtins(made))), Judgement)
        made = made.step(0.1, 0.5, rules)
    assert made.plateau.factor < 1
    assert made.stop(rules) == ("diverged", made.divergence.reason)
    assert made.stop(TrainConfig()) is None
    alone = Judgement().step(0.1, None, rules)
    assert alone.divergence == Divergence()
