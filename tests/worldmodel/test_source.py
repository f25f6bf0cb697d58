"""Transitions of pictures in memory."""

import numpy as np
import pytest

from worldmodel.source import Arrays


@pytest.fixture
def source() -> Arrays:
    """Two episodes, of four and three frames; the pixels of frame i are i, its action is 10 i; one action is missing."""
    frames = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    actions = 10.0 * np.arange(7)[:, None]
    actions[[3, 6]] = np.nan
    return Arrays({"front": frames}, actions, np.array([0, 0, 0, 0, 1, 1, 1]), context=2)


def test_transitions_never_cross_an_episode(source: Arrays) -> None:
    assert source.ids().tolist() == [0, 1, 2, 4, 5]
    assert source.ids(horizon=2).tolist() == [0, 1, 4]
    assert source.ids(horizon=3).tolist() == [0]


def test_the_start_of_an_episode_is_padded_with_its_first_frame(source: Arrays) -> None:
    batch = source.windows(np.array([4, 5]))
    assert batch.frames["front"][:, :, 0, 0, 0].tolist() == [[4, 4, 5], [4, 5, 6]]
    assert np.isnan(batch.actions[0, 0]).all()
    assert batch.actions[:, 1, 0].tolist() == [40.0, 50.0]
    assert batch.actions[1, 0, 0] == 40.0
    assert batch.ids is not None
    assert batch.ids.tolist() == [4, 5]


def test_a_horizon_shows_the_frames_that_follow(source: Arrays) -> None:
    batch = source.windows(np.array([1]), horizon=2)
    assert batch.frames["front"][0, :, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert batch.actions[0, :, 0].tolist() == [0.0, 10.0, 20.0]


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="lengths"):
        Arrays({"front": np.zeros((3, 2, 2, 3), np.uint8)}, np.zeros((2, 1)), np.zeros(3), context=2)
