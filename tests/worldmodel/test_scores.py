"""Metrics against values computed by hand."""

import math
from typing import Any

import numpy as np
import pytest

from worldmodel.batch import Batch
from worldmodel.evaluate import Baselines, Marker, Probe, Uncertainty, fit, groups_of, score_rollouts, score_states, score_windows
from worldmodel.scores import calibration as cal
from worldmodel.scores import original, pixels
from worldmodel.scores.baselines import NearestNeighbour, linear, mean_frame
from worldmodel.scores.cases import counterfactual_cases
from worldmodel.scores.inference import ActionInference
from worldmodel.scores.intervals import Bootstrap
from worldmodel.scores.summary import COPY, LINEAR, MEAN, NEAREST, NO_TRAINING, OPTIMUM, TWIN
from worldmodel.source import Arrays

from .conftest import DotWorld

Array = np.ndarray[Any, Any]


def picture(*values: int) -> Array:
    """One grey picture of 1 x n pixels, as [1, 1, 1, n, 3]."""
    return np.repeat(np.array(values, np.uint8)[:, None], 3, axis=1)[None, None, None]


class Answers:
    """Predicts whatever `answer(last [n, 1, H, W, 3], candidates [n or 1, A, D])` says; NaN candidates as they come."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict_batch(self, frames: dict[str, Array], past_actions: Array, candidates: Array) -> dict[str, Array]:
        last = frames["top"][:, -1:]
        tried = np.broadcast_to(candidates, (len(last), *candidates.shape[1:]))
        return {"top": np.asarray(self.answer(last, tried), np.uint8)}


def moves(last: Array, tried: Array) -> Array:
    """The dot world itself: action 1 moves everything by 9 pixels."""
    return np.where(tried[..., None, None] == 1, np.roll(last, 9, axis=-2), last)


def copies(last: Array, tried: Array) -> Array:
    return np.repeat(last, tried.shape[1], axis=1)


@pytest.fixture
def track(world: DotWorld) -> Arrays:
    """12 episodes of 12 frames, random actions."""
    live = world.live(np.random.default_rng(3), length=12)
    rows = [next(live) for _ in range(144)]
    episode, _, frames, actions = (np.array(column) for column in zip(*rows, strict=True))
    return Arrays({"top": frames}, actions, episode, context=2)


# -- pixels ---------------------------------------------------------------------------------------


def test_errors_are_means_over_all_pixels_of_all_cameras() -> None:
    truth = {"a": picture(0, 0), "b": picture(0, 0, 0, 0, 0, 0)}
    ours = {"a": picture(255, 0), "b": picture(0, 0, 0, 0, 0, 51)}
    assert pixels.mse(ours, truth)[0, 0] == pytest.approx((1 + 0.04) / 8)
    assert pixels.absolute(ours, truth)[0, 0] == pytest.approx((255 + 51) / 8)
    assert pixels.psnr(0.001) == pytest.approx(30.0)
    assert pixels.psnr(0.0) is None


def test_what_changed_is_grown_by_three_pixels() -> None:
    last, truth = np.zeros((1, 1, 12, 12, 3), np.uint8), np.zeros((1, 1, 12, 12, 3), np.uint8)
    truth[0, 0, 0, 6] = 3  # 9 over the colours: more than 8
    truth[0, 0, 11, 0] = (8, 0, 0)  # not more than 8
    mask = pixels.changed({"top": last}, {"top": truth})["top"][0, 0]
    assert mask.sum() == 4 * 7 and mask[:4, 3:10].all()
    assert pixels.masked_size({"top": mask[None, None]})[0, 0] == 3 * 28
    ours = np.full_like(truth, 51)
    truth[...] = 0
    assert pixels.masked_error({"top": ours}, {"top": truth}, {"top": mask[None, None]})[0, 0] == pytest.approx(84 * 0.04)


def test_going_on_as_before_is_clipped() -> None:
    history = np.stack([picture(10, 200)[0, 0], picture(30, 250)[0, 0]])[None]
    assert linear({"top": history})["top"][0, 0, 0, :, 0].tolist() == [50, 255]
    assert linear({"top": history[:, :1]})["top"][0, 0, 0, :, 0].tolist() == [10, 200]


def test_the_mean_frame_and_the_nearest_neighbour(world: DotWorld) -> None:
    def window(x: int, action: int) -> Array:
        return np.stack([world.draw(x, 10), world.draw(x, 10), world.draw(x + 9 * action, 10)])

    frames = np.concatenate([window(10, 0), window(10, 1), window(40, 1)])
    source = Arrays({"top": frames}, np.array([[0.0], [0], [0], [0], [1], [0], [0], [1], [0]]), np.repeat([0, 1, 2], 3), context=2)
    ids = np.array([1, 4, 7])
    mean = mean_frame(source, ids)["top"][0, 0, 10]
    assert mean[10, 0] == pytest.approx(255 / 3) and mean[19, 0] == pytest.approx(255 / 3)
    search = NearestNeighbour(source, ids)
    asked = {"top": np.stack([window(11, 0)[:2], window(39, 0)[:2]])}
    found = search(asked, np.array([[[0.0], [1.0]]], np.float32))["top"]
    assert (found[0, 0] == world.draw(10, 10)).all() and (found[0, 1] == world.draw(19, 10)).all()
    assert (found[1, 1] == world.draw(49, 10)).all()


# -- intervals ------------------------------------------------------------------------------------


def test_intervals_draw_whole_groups_and_are_paired() -> None:
    error, reference = np.array([1.0, 1, 3, 3]), np.array([2.0, 2, 6, 6])
    boot = Bootstrap(np.array([0, 0, 1, 1]))
    skill = boot.skill(error, reference)
    assert skill is not None and (skill.value, skill.low, skill.high) == (0.5, 0.5, 0.5), "paired: the ratio never changes"
    mean = boot.ratio(error)
    assert mean is not None and (mean.value, mean.low, mean.high) == (2.0, 1.0, 3.0)
    assert Bootstrap(np.zeros(4, int)).ratio(error).low is None  # type: ignore[union-attr]
    assert boot.skill(error, np.zeros(4)) is None
    least = boot.least(error, [reference, error, np.full(4, np.nan)])
    assert least is not None and least.value == 0.0
    assert Bootstrap(np.arange(4), seed=1).ratio(error) == Bootstrap(np.arange(4), seed=1).ratio(error)


def test_few_episodes_are_drawn_by_the_second() -> None:
    assert len(set(groups_of(np.repeat([0, 1], 10), np.tile(np.arange(10) // 5, 2)).tolist())) == 4
    assert len(set(groups_of(np.arange(8).repeat(2), np.tile([0, 9], 8)).tolist())) == 8


# -- counterfactuals ------------------------------------------------------------------------------


def test_outcomes_that_look_alike_cannot_be_told_apart() -> None:
    truth = {"top": np.concatenate([picture(0, 0), picture(0, 0), picture(0, 9)], axis=1)}
    found = counterfactual_cases(truth, truth)
    assert found["nearest"].tolist() == [[1, 1, 1]], "a twin outcome is as right"
    same = {"top": np.repeat(picture(5, 5), 2, axis=1)}
    assert np.isnan(counterfactual_cases(same, same)["nearest"]).all(), "nothing to choose from"


def test_a_perfect_model_and_one_that_copies(world: DotWorld) -> None:
    probe = world.probe(context=2, rows=1).part(np.arange(0, 64, 8))
    report = score_states(Answers(moves), probe)
    truth, place = report.counterfactual, report.place
    assert place is not None and truth.accuracy is not None and truth.skill is not None and truth.divergence is not None
    assert (truth.accuracy.value, truth.skill.value, truth.divergence.value, truth.delta_psnr) == (1, 1, 1, None)
    assert (report.pixels.mse, report.pixels.psnr, report.pixels.ssim, place.hit.value, place.mass.value) == (0, None, 1, 1, 1)  # type: ignore[union-attr]
    assert (place.ghost.value, place.peak, place.lost) == (0, 1, 0)  # type: ignore[union-attr]
    assert [one.name for one in report.actions] == ["0", "1"] and report.missing[NEAREST] == NO_TRAINING

    report = score_states(Answers(copies), probe)
    truth = report.counterfactual
    assert (truth.accuracy.value, truth.skill.value, truth.divergence.value, truth.delta_psnr) == (0.5, 0, 0, 0)  # type: ignore[union-attr]
    stays, steps = report.actions
    assert (stays.accuracy.value, steps.accuracy.value, steps.hit.value) == (1, 0, 0)  # type: ignore[union-attr]
    assert stays.skill_copy_last is None and steps.skill_copy_last.value == 0  # type: ignore[union-attr]
    assert report.pixels.headline.value == 0 and report.pixels.headline_over == COPY  # type: ignore[union-attr]


def test_ghosts_are_mass_at_the_other_outcome(world: DotWorld) -> None:
    probe = world.probe(context=2, rows=1).part(np.arange(0, 64, 8))
    ghosts = Answers(lambda last, tried: 0.75 * moves(last, tried) + 0.25 * moves(last, 1 - tried))
    report = score_states(ghosts, probe)
    assert report.place is not None and report.place.ghost is not None and report.place.mass is not None
    assert report.place.ghost.value == pytest.approx(0.25, abs=0.01)
    assert report.place.mass.value == pytest.approx(1.0, abs=0.01)
    assert report.counterfactual.accuracy.value == 1.0  # type: ignore[union-attr]
    assert report.counterfactual.skill.value == pytest.approx(0.75, abs=0.01)  # type: ignore[union-attr]
    assert report.counterfactual.divergence.value == pytest.approx(0.5, abs=0.01)  # type: ignore[union-attr]
    optimum = report.pixels.over(OPTIMUM)
    assert optimum is not None and optimum.skill is not None and optimum.skill.value == pytest.approx(0.75, abs=0.01)


def test_garbage_that_differs_is_worse_than_deaf(world: DotWorld) -> None:
    probe = world.probe(context=2, rows=1).part(np.arange(0, 64, 8))
    random = np.random.default_rng(0)
    report = score_states(Answers(lambda last, tried: random.integers(0, 256, (len(last), 2, 64, 64, 3))), probe)
    assert report.counterfactual.skill.value < -5 and report.original.overall_mean_divergence > 50  # type: ignore[union-attr]


def test_a_switch_is_an_action_unlike_the_one_before(world: DotWorld) -> None:
    probe = world.probe(context=2, rows=1)
    lazy = Answers(lambda last, tried: np.repeat(np.roll(last, 9, axis=-2), 2, axis=1))
    switch = score_states(lazy, probe).switch
    expected = float((probe.past_actions[:, -1, 0] == 0).mean())  # it always moves: right where it stood before
    assert switch is not None and switch.cases == len(probe) and switch.accuracy is not None
    assert switch.accuracy.value == pytest.approx(expected)


# -- transitions ----------------------------------------------------------------------------------


def test_recorded_transitions(track: Arrays, world: DotWorld) -> None:
    train, test = (ids := track.ids())[: len(ids) * 2 // 3], ids[len(ids) * 2 // 3 :]
    baselines = Baselines.of(track, train, twin=Answers(lambda last, tried: last))
    reading = ActionInference(track, train, world.space)
    groups = groups_of(track.episode[test], test * 0)
    report = score_windows(Answers(moves), track, test, world.space, baselines, groups, inference=reading)
    assert report.pixels.mse == 0 and report.pixels.headline.value == 1  # type: ignore[union-attr]
    assert {one.name for one in report.pixels.references} == {COPY, LINEAR, MEAN, NEAREST, TWIN}
    assert report.pixels.over(TWIN).mse == report.pixels.over(COPY).mse  # type: ignore[union-attr]
    assert report.pixels.over(NEAREST).skill.value == 1  # type: ignore[union-attr]
    found = report.inference
    assert found is not None and found.kind == "accuracy" and found.real is not None and found.predicted == found.real
    assert found.real.value == 1.0 and found.obeys.value == 1.0 and found.permuted.value < 0.9  # type: ignore[union-attr]
    assert sum(one.cases for one in report.actions) == len(test)
    assert report.switch is not None and report.switch.mse == 0
    assert "place" in report.missing and "calibration" in report.missing

    deaf = score_windows(Answers(copies), track, test, world.space, groups=groups, inference=reading)
    assert deaf.delta_psnr == 0 and deaf.inference.predicted == deaf.inference.permuted  # type: ignore[union-attr]


def test_matched_pairs_stand_for_counterfactuals(world: DotWorld) -> None:
    frames = [world.draw(x, y) for y in (10, 30) for x in (20, 20, 20, 20, 20, 29)]
    actions = np.array([[0.0], [0], [0], [0], [1], [0]] * 2)
    source = Arrays({"top": np.array(frames)}, actions, np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]), context=2)
    ids = np.array([1, 4, 7, 10])  # at each place one that stays and one that moves
    right = score_windows(Answers(moves), source, ids, world.space).matched
    wrong = score_windows(Answers(lambda last, tried: moves(last, 1 - tried)), source, ids, world.space).matched
    assert right is not None and wrong is not None and right.accuracy is not None and wrong.accuracy is not None
    assert (right.pairs, right.accuracy.value, wrong.accuracy.value) == (2, 1.0, 0.0)


# -- rollouts -------------------------------------------------------------------------------------


def test_rollouts_of_a_perfect_model_and_one_that_loses_a_pixel_a_step(track: Arrays) -> None:
    windows = track.windows(track.ids(8)[::6], 8)
    perfect = score_rollouts(Answers(moves), windows, 2, Marker())
    assert len(perfect.steps) == 8 and (perfect.valid_horizon, perfect.ended_by) == (8, None)
    assert all(step.mse == 0 and step.median_px == 0 and step.mass.value == 1 for step in perfect.steps)  # type: ignore[union-attr]
    slow = score_rollouts(Answers(lambda last, tried: np.roll(moves(last, tried), 1, axis=-3)), windows, 2, Marker(), radius_px=3)
    assert [step.median_px for step in slow.steps] == pytest.approx(list(range(1, 9)), abs=1e-3)
    assert slow.valid_horizon <= 3 and slow.ended_by is not None
    fading = score_rollouts(Answers(lambda last, tried: moves(last, tried) * 0.5), windows, 2, Marker())
    assert fading.steps[2].mass.value == pytest.approx(1 / 8, abs=0.01)  # type: ignore[union-attr]


def test_a_rollout_sees_its_own_pictures_and_the_true_actions() -> None:
    seen: list[tuple[list[int], float]] = []

    class Watch:
        def predict_batch(self, frames: dict[str, Array], past_actions: Array, candidates: Array) -> dict[str, Array]:
            seen.append((frames["top"][0, :, 0, 0, 0].tolist(), float(candidates[0, 0, 0])))
            return {"top": np.full((1, 1, 4, 4, 3), 100 + len(seen), np.uint8)}

    frames = np.arange(5, dtype=np.uint8)[None, :, None, None, None].repeat(4, axis=2).repeat(4, axis=3).repeat(3, axis=4)
    score_rollouts(Watch(), Batch({"top": frames}, np.arange(4, dtype=np.float32)[None, :, None]), context=2)
    assert seen == [([0, 1], 1.0), ([1, 101], 2.0), ([101, 102], 3.0)]


# -- calibration ----------------------------------------------------------------------------------


def test_closed_forms() -> None:
    one, zero = np.ones(1), np.zeros(1)
    assert cal.nll(one, zero, one)[0] == pytest.approx(0.5 * math.log(2 * math.pi) + 0.5)
    assert cal.crps(zero, zero, one)[0] == pytest.approx((math.sqrt(2) - 1) / math.sqrt(math.pi))
    assert cal.crps(one * 5, zero, one * 1e-9)[0] == pytest.approx(5.0)
    assert cal.coverage_error(np.linspace(0, 1, 10001)) < 1e-3
    assert cal.coverage_error(np.full(10, 0.5)) == pytest.approx(0.5), "always inside"
    assert cal.spearman(np.array([1.0, 2, 3, 4]), np.array([1.0, 8, 27, 64])) == pytest.approx(1.0)
    assert cal.spearman(np.ones(4), np.arange(4.0)) is None
    assert cal.auroc(np.array([2.0, 3]), np.array([1.0, 2])) == pytest.approx(3.5 / 4)
    error = np.array([1.0, 2, 3])
    assert cal.ause(error, error)[0] == 0
    worst, random = cal.ause(-error, error)
    assert worst == pytest.approx(((2 - 2) + (2.5 - 1.5) + (3 - 1)) / 3 / 2) and random == pytest.approx((0 + 0.5 + 1) / 3 / 2)


def told(rng: np.random.Generator, count: int, wrong: float) -> cal.Spreads:
    """Frames whose error is spread as said, times `wrong`."""
    std = rng.uniform(0.02, 0.2, count)
    value = rng.normal(0.5, std * wrong)
    error = std * wrong * np.exp(rng.normal(0, 0.1, count))
    return cal.Spreads(error, std, value, np.full(count, 0.5), std, np.arange(count))


def test_a_fit_on_validation_data_repairs_what_is_told_too_small() -> None:
    rng = np.random.default_rng(0)
    fitted = fit(told(rng, 1500, 3.0))
    assert fitted.temperature == pytest.approx(3.0, rel=0.08)
    found = cal.calibration(told(rng, 1500, 3.0), fitted, seen_std=np.full(5, 0.01))
    assert found.raw is not None and found.recalibrated is not None and found.raw.coverage_error > 0.2
    assert found.recalibrated.coverage_error < 0.03 and found.recalibrated.crps < found.raw.crps
    assert found.frame.coverage_error is not None and found.frame.coverage_error < 0.04
    assert found.frame.crps_skill is not None and found.frame.crps_skill > 0.5
    assert found.frame.error_to_std == pytest.approx(3.0, rel=0.05) and found.frame.spearman.value > 0.9  # type: ignore[union-attr]
    assert found.frame.ause < found.frame.ause_random / 4 and found.auroc_novel == 1.0
    shifted = cal.calibration(told(rng, 1500, 9.0), fitted)
    assert shifted.frame.coverage_error is not None and shifted.frame.coverage_error > 0.2, "elsewhere the fit does not hold, and it shows"
    with pytest.raises(ValueError, match="too few"):
        fit(told(rng, 4, 1.0))


class Ensemble(Answers):
    """Right but for noise of a known spread, which differs from state to state."""

    def predict_spread(self, frames: dict[str, Array], past_actions: Array, candidates: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        truth = moves(frames["top"][:, -1:], np.broadcast_to(candidates, (len(past_actions), *candidates.shape[1:]))) / 255.0
        level = 0.02 + 0.2 * (frames["top"][:, -1].argmax(axis=2)[:, :, 0].max(axis=1) / 64.0)
        std = np.broadcast_to(level[:, None, None, None, None], truth.shape)
        noise = np.random.default_rng(len(truth)).normal(0, 1, truth.shape)
        return {"top": (truth + noise * std).astype(np.float32)}, {"top": std.astype(np.float32)}


def test_an_ensemble_is_judged(world: DotWorld) -> None:
    probe: Probe = world.probe(context=2, rows=1)
    report = score_states(Ensemble(moves), probe, uncertainty=Uncertainty(Ensemble(moves), None, np.full(4, 0.01)))
    found = report.calibration
    assert found is not None and found.raw is not None and found.recalibrated is not None
    assert found.raw.coverage_error < 0.03 and found.recalibrated.coverage_error < 0.03
    assert found.frame.spearman is not None and found.frame.spearman.value > 0.95 and found.auroc_novel == 1.0
    assert found.frame.error_to_std == pytest.approx(1.0, abs=0.05)
    assert score_states(Answers(moves), probe).calibration is None


# -- the original's figures -----------------------------------------------------------------------


def test_the_originals_loss() -> None:
    ours, truth = {"top": picture(255, 0)}, {"top": picture(0, 0)}
    hybrid, plain = original.hybrid_loss(ours, truth, alpha=0.1, beta=5.0)
    focal = math.exp(5) / (math.exp(5) + 1)
    assert plain[0] == pytest.approx(0.5) and hybrid[0] == pytest.approx(0.1 * 0.5 + 0.9 * focal, rel=1e-6)
    assert original.hybrid_loss(ours, truth, alpha=0.1, beta=0.0)[0][0] == pytest.approx(0.5)
    figures = original.loss_figures(np.arange(101.0), np.arange(101.0) / 2)
    assert figures is not None and figures.hybrid.percentiles["p95"] == 95 and figures.standard.mean == 25
    assert len(figures.hybrid.counts) == 30 and sum(figures.hybrid.counts) == 101 and figures.hybrid.std == pytest.approx(29.155, abs=1e-3)


def test_the_originals_divergence() -> None:
    a, b, c = picture(0, 0, 0, 0), picture(0, 0, 0, 40), picture(0, 0, 3, 0)
    found = original.divergence({"top": np.concatenate([a, b, c], axis=1)}, motion=5.0)
    assert found is not None and [pair.mean for pair in found.pairs] == pytest.approx([10, 0.75, 10.75])
    assert found.overall_mean_divergence == pytest.approx(21.5 / 3) and found.per_motion == pytest.approx(21.5 / 15)
    assert [pair.changed_pixels for pair in found.pairs] == [1, 0, 1]
    assert [pair.changed_percent for pair in found.pairs] == pytest.approx([25, 25, 50])
    assert original.divergence({"top": a}) is None
