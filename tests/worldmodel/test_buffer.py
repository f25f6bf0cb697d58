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
    batch = buffer.windows(np.random.default_rng(0).choice(buffer.ids(), n))
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
        buffer.spread(4)
    buffer.add_action(0, 1, np.array([5.0]))
    assert windows(buffer) == {(0, 1, 2)}
    batch = buffer.windows(buffer.ids())
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
    batch = buffer.windows(np.random.default_rng(0).choice(buffer.ids(), 300))
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


def test_ids_last_and_are_in_order() -> None:
    buffer = make(frames=5)
    fill(buffer, 0, range(4))
    assert buffer.ids().tolist() == [0, 1, 2]
    fill(buffer, 0, range(4, 8))  # frames 0 to 2 are overwritten, so 3 begins the oldest transition
    assert buffer.ids().tolist() == [3, 4, 5, 6]
    assert buffer.windows(np.array([5])).frames["a"][0, :, 0, 0, 0].tolist() == [4, 5, 6]
    assert buffer.id_of(0, 6) == 6
    assert buffer.id_of(0, 7) is None
    with pytest.raises(LookupError, match="held no more"):
        buffer.windows(np.array([2]))


def test_a_horizon_goes_on_to_the_frames_that_follow() -> None:
    buffer = make(context=2)
    fill(buffer, 0, range(4))
    fill(buffer, 1, range(3))
    assert buffer.ids(horizon=2).tolist() == [0, 1, 4]
    batch = buffer.windows(np.array([1, 4]), horizon=2)
    assert batch.frames["a"][:, :, 0, 0, 0].tolist() == [[0, 1, 2, 3], [10, 10, 11, 12]]
    assert batch.actions[0, :, 0].tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(LookupError, match="not followed"):
        buffer.windows(np.array([2]), horizon=2)


def test_samples_reuse_their_arrays() -> None:
    buffer = make()
    fill(buffer, 0, range(5))
    some = np.array([0, 1, 2, 3])
    assert buffer.windows(some).frames["a"] is buffer.windows(some[::-1]).frames["a"]


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
    kept = buffer.windows(np.repeat(buffer.ids()[:1], 16))
    sizes = {len(buffer.spread(count)) for count in range(1, 20)}
    assert sizes == set(range(1, 20))
    assert buffer.windows(np.repeat(buffer.ids()[:1], 16)).frames["a"] is not kept.frames["a"]
