"""Which transitions come next: shares, formulas, and going on exactly."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from worldmodel.augment import augment
from worldmodel.sampling import Memory, Sampler, loss_weights, priorities
from worldmodel.trainconfig import TrainConfig

IDS = np.arange(100, 200)


def sampler(**changes: Any) -> Sampler:
    return Sampler(TrainConfig(**changes))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_shares_are_kept_over_batches_too_small_for_them() -> None:
    made = sampler(sampling={"uniform": 0.9, "recent": 0.1}, recent_window=1)
    random = rng()
    newest = [int((made.draw(IDS, 4, random).ids >= 198).sum()) for _ in range(100)]
    assert sum(newest) == pytest.approx(40 + 0.02 * 360, abs=12)
    counts = [sum(made._counts(3).values()) for _ in range(20)]
    assert counts == [3] * 20


def test_recent_ones_are_the_newest() -> None:
    drawn = sampler(sampling={"recent": 1.0}, recent_window=10).draw(IDS, 500, rng())
    assert set(drawn.ids.tolist()) == set(range(190, 200))
    assert drawn.weights is None


def test_an_epoch_brings_each_once_and_new_ones_in_the_next() -> None:
    made = sampler(sampling={"epoch": 1.0})
    random = rng()
    first = np.concatenate([made.draw(IDS, 10, random).ids for _ in range(10)])
    assert sorted(first.tolist()) == IDS.tolist()
    assert first.tolist() != IDS.tolist()
    made.draw(IDS, 10, random)
    later = np.arange(150, 250)  # a live buffer has dropped the oldest half
    rest = made.draw(later, 150, random).ids
    assert rest.min() >= 150
    assert set(rest.tolist()) == set(later.tolist())


def test_loss_weighted_by_the_originals_formula() -> None:
    weights = loss_weights(np.array([1.0, 3.0, 2.0, np.nan], np.float32), 0.5)
    expected = np.exp(np.array([0.0, 1.0, 0.5, 0.5]) / 0.5)
    np.testing.assert_allclose(weights, expected / expected.sum())
    assert weights.max() / weights.min() == pytest.approx(np.e**2)
    np.testing.assert_allclose(loss_weights(np.full(4, np.nan, np.float32), 0.5), 0.25)


def test_loss_weighted_draws_are_refreshed_now_and_then() -> None:
    made = sampler(sampling={"loss-weighted": 1.0}, loss_temperature=0.05, loss_refresh=2)
    random = rng()
    made.draw(IDS, 4, random)
    made.learn(IDS, np.where(IDS == 142, 9.0, 1.0).astype(np.float32))
    assert (made.draw(IDS, 200, random).ids == 142).mean() < 0.2  # still the weights of before
    assert (made.draw(IDS, 200, random).ids == 142).mean() > 0.9


def test_priorities_and_their_importance_weights() -> None:
    np.testing.assert_allclose(priorities(np.array([4.0, 1.0, np.nan], np.float32), 0.5), [0.4, 0.2, 0.4], rtol=1e-6)
    made = sampler(sampling={"prioritised": 1.0}, priority_exponent=1.0, priority_correction=1.0)
    made.learn(np.array([100, 101]), np.array([3.0, 1.0], np.float32))
    drawn = made.draw(IDS[:2], 4000, rng())
    assert (drawn.ids == 100).mean() == pytest.approx(0.75, abs=0.03)
    assert drawn.weights is not None
    np.testing.assert_allclose(drawn.weights, np.where(drawn.ids == 100, 1 / 3, 1.0), rtol=1e-5)
    # wholly corrected, both count the same in the end
    assert drawn.weights[drawn.ids == 100].sum() == pytest.approx(drawn.weights[drawn.ids == 101].sum(), rel=0.1)
    mixed = sampler(sampling={"prioritised": 0.5, "uniform": 0.5}).draw(IDS, 10, rng())
    assert mixed.weights is not None and len(mixed.weights) == 10


def test_memory_keeps_the_last_and_forgets_what_is_gone() -> None:
    memory = Memory()
    memory.put(np.array([5, 3, 5]), np.array([1.0, 2.0, 7.0], np.float32))
    memory.put(np.array([4, 3]), np.array([6.0, 8.0], np.float32))
    np.testing.assert_array_equal(memory.of(np.array([3, 4, 5, 6])), np.array([8.0, 6.0, 7.0, np.nan], np.float32))
    memory.forget_before(4)
    assert memory.ids.tolist() == [4, 5]
    made = sampler(sampling={"prioritised": 1.0})
    made.learn(np.array([100, 101]), np.array([np.nan, 1.0], np.float32))
    assert made.memory.ids.tolist() == [101]
    nobody = sampler()
    nobody.learn(IDS, np.ones(100, np.float32))
    assert not len(nobody.memory.ids)
    with pytest.raises(ValueError, match="no transition"):
        nobody.draw(np.empty(0, np.int64), 4, rng())


@pytest.mark.parametrize("kind", ["uniform", "recent", "epoch", "loss-weighted", "prioritised"])
def test_draws_go_on_exactly(kind: str) -> None:
    def drawn(split: bool) -> list[int]:
        made, random, found = sampler(sampling={kind: 0.7, "uniform": 0.3}, loss_refresh=3), rng(), []
        for turn in range(8):
            if split and turn == 4:
                arrays, values = made.state()
                made = sampler(sampling={kind: 0.7, "uniform": 0.3}, loss_refresh=3)
                made.load_state(arrays, json.loads(json.dumps(values)))
            picks = made.draw(IDS, 16, random).ids
            made.learn(picks, (picks % 7).astype(np.float32))
            found += picks.tolist()
        return found

    assert drawn(split=True) == drawn(split=False)


def test_all_frames_of_a_window_are_changed_alike() -> None:
    frames = {"top": torch.randint(0, 200, (1, 1, 12, 10, 3), dtype=torch.uint8).repeat(6, 4, 1, 1, 1)}
    changed = augment(frames, TrainConfig(augment_shift=2, augment_brightness=0.2), rng())["top"]
    assert changed.shape == frames["top"].shape
    assert (changed == changed[:, :1]).all()
    assert len({tuple(window.flatten().tolist()) for window in changed}) == 6  # each window in its own way
    flipped = augment(frames, TrainConfig(augment_flip=1.0), rng())["top"]
    assert torch.equal(flipped, frames["top"].flip(-2))
    moved = augment(frames, TrainConfig(augment_shift=2), rng())["top"]
    inner = frames["top"][0, 0, 4:-4, 4:-4]
    places = {(y, x) for y in range(5) for x in range(5) if torch.equal(moved[0, 0, 2 + y : 6 + y, 2 + x : 4 + x], inner)}
    assert len(places) == 1
