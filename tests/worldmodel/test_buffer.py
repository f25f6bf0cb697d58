"""The replay buffer never invents a transition."""

from typing import Any

import numpy as np
import pytest

from nodes.trainer.buffer import ReplayBuffer
from worldmodel.spec import Camera

CAMERAS = (Camera("a", 2, 3), Camera("b", 1, 1))


def images(value: int) -> dict[str, np.ndarray[Any, Any]]:
    return {c.name: np.full((c.height, c.width, 3), value, np.uint8) for c in CAMERAS}


def make(frames: int = 100, context: int = 2) -> ReplayBuffer:
    return ReplayBuffer(CAMERAS, action_size=1, context=context, capacity_frames=frames)


def fill(buffer: ReplayBuffer, episode: int, steps: range) -> None:
    for step in steps:
        buffer.add_frame(episode, step, images(10 * episode + step))
        buffer.add_action(episode, step, np.array([step], np.float32))


def windows(buffer: ReplayBuffer, n: int = 200) -> set[tuple[int, ...]]:
    batch = buffer.sample(n, np.random.default_rng(0))
    assert all((frames == frames[..., :1, :1, :1]).all() for frames in batch.frames.values())
    np.testing.assert_array_equal(batch.frames["a"][:, :, 0, 0, 0], batch.frames["b"][:, :, 0, 0, 0])
    return {tuple(row) for row in batch.frames["a"][:, :, 0, 0, 0].tolist()}


def test_windows_stay_inside_an_episode() -> None:
    buffer = make()
    fill(buffer, 0, range(3))
    fill(buffer, 1, range(3))
    assert len(buffer) == 4
    assert buffer.frames == 6
    assert windows(buffer) == {(0, 0, 1), (0, 1, 2), (10, 10, 11), (10, 11, 12)}


def test_a_gap_makes_no_transition() -> None:
    buffer = make()
    fill(buffer, 0, range(2))
    fill(buffer, 0, range(3, 6))
    assert windows(buffer) == {(0, 0, 1), (3, 3, 4), (3, 4, 5)}
    fill(buffer, 0, range(2, 3))  # the late frame closes the gap
    assert len(buffer) == 5


def test_an_unknown_action_makes_no_transition_until_it_comes() -> None:
    buffer = make()
    for step in range(3):
        buffer.add_frame(0, step, images(step))
    assert len(buffer) == 0
    with pytest.raises(ValueError, match="no transition"):
        buffer.sample(4, np.random.default_rng(0))
    buffer.add_action(0, 1, np.array([5.0]))
    assert windows(buffer) == {(0, 1, 2)}
    batch = buffer.sample(1, np.random.default_rng(0))
    assert np.isnan(batch.actions[0, 0, 0])
    assert batch.actions[0, 1, 0] == 5.0


def test_order_of_arrival_does_not_matter() -> None:
    buffer = make()
    for step in (2, 0, 1):
        buffer.add_action(0, step, np.array([float(step)]))
    for step in (1, 2, 0, 3):
        buffer.add_frame(0, step, images(step))
    assert windows(buffer) == {(0, 0, 1), (0, 1, 2), (1, 2, 3)}


def test_actions_lie_beside_their_frames_and_padding_is_nan() -> None:
    buffer = make(context=3)
    fill(buffer, 0, range(6))
    batch = buffer.sample(300, np.random.default_rng(0))
    for frames, actions in zip(batch.frames["a"][:, :, 0, 0, 0].tolist(), batch.actions[..., 0].tolist(), strict=True):
        for left, right, action in zip(frames[:-1], frames[1:], actions, strict=True):
            assert (left == right and np.isnan(action)) or (right == left + 1 and action == left)
    assert batch.frames["a"].dtype == np.uint8
    assert batch.actions.dtype == np.float32


def test_the_oldest_frames_are_overwritten() -> None:
    buffer = make(frames=4)
    fill(buffer, 0, range(10))
    assert buffer.frames == 4
    assert len(buffer) == 3
    assert buffer.nbytes == 4 * (2 * 3 * 3 + 3)
    assert windows(buffer) == {(6, 6, 7), (6, 7, 8), (7, 8, 9)}


def test_a_share_comes_from_the_newest_frames() -> None:
    buffer = make(frames=5000)
    fill_values = range(2000)
    for step in fill_values:
        buffer.add_frame(0, step, images(step // 10))
        buffer.add_action(0, step, np.array([float(step)]))
    batch = buffer.sample(400, np.random.default_rng(0), recent_fraction=0.5, recent_window=100)
    newest = batch.actions[:, -1, 0] >= 1899
    assert 200 <= newest.sum() <= 250
    none = buffer.sample(400, np.random.default_rng(0), recent_fraction=0.0)
    assert (none.actions[:, -1, 0] >= 1899).sum() < 50


def test_samples_reuse_their_arrays() -> None:
    buffer = make()
    fill(buffer, 0, range(5))
    rng = np.random.default_rng(0)
    assert buffer.sample(8, rng).frames["a"] is buffer.sample(8, rng).frames["a"]


def test_capacity_in_bytes_and_mistakes() -> None:
    assert ReplayBuffer(CAMERAS, 1, 2, capacity_bytes=100 * 21).capacity == 100
    with pytest.raises(ValueError, match="raise the capacity"):
        ReplayBuffer(CAMERAS, 1, 2, capacity_bytes=21)
    with pytest.raises(ValueError, match="give either"):
        ReplayBuffer(CAMERAS, 1, 2)
    with pytest.raises(ValueError, match="camera 'b' gave nothing"):
        make().add_frame(0, 0, {"a": images(0)["a"]})
    with pytest.raises(ValueError, match=r"an action of shape \(2,\)"):
        make().add_action(0, 0, np.zeros(2))


def test_arrays_of_only_a_few_sizes_are_kept() -> None:
    buffer = make()
    fill(buffer, 0, range(30))
    kept = buffer.sample(16, np.random.default_rng(0))
    sizes = {len(buffer.spread(count)) for count in range(1, 20)}
    assert sizes == set(range(1, 20))
    assert buffer.sample(16, np.random.default_rng(0)).frames["a"] is not kept.frames["a"]
