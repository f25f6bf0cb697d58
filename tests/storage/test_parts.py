"""Which frames go where: nothing twice, nothing lost but the guard, whole units stay whole."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from storage.editing.parts import guarded, pieces, share, stage_sizes, stages, train_and_validation, two_parts, units
from storage.editing.table import Frames
from storage.editing.wanted import Guard, before, episodes, guard
from storage.errors import EditRefused

NO_GUARD = Guard()


def made(lengths: list[int], hz: float = 10.0) -> Frames:
    """Frames of episodes of these lengths, one run for each two episodes."""
    episode = np.repeat(np.arange(len(lengths)), lengths)
    step = np.concatenate([np.arange(length) for length in lengths] or [np.empty(0, np.int64)])
    return Frames(rows=np.arange(episode.size), episode=episode, step=step, run=episode // 2, seconds=np.arange(episode.size) / hz)


layouts = st.lists(st.integers(1, 12), min_size=1, max_size=8).map(made)
guards = st.one_of(st.integers(0, 6).map(lambda n: Guard(frames=n)), st.floats(0, 0.7).map(lambda s: Guard(seconds=s)))


def apart(frames: Frames, train: np.ndarray, validation: np.ndarray, kept: Guard) -> bool:
    """Whether every frame of both keeps the guard, by looking at every pair."""
    return all(
        abs(i - j) > kept.frames and (not kept.seconds or abs(frames.seconds[i] - frames.seconds[j]) >= kept.seconds)
        for i in np.flatnonzero(train)
        for j in np.flatnonzero(validation)
    )


@given(layouts, st.sampled_from(["episode", "session", "time"]), st.integers(1, 99), guards)
def test_two_parts_are_whole_units_and_apart(frames, unit, percent, kept):
    label = units(frames, unit)
    assume(label.any())
    train, validation = two_parts(label, percent)
    assert not (train & validation).any() and (train | validation).all() and train.any() and validation.any()
    assert not set(label[train]) & set(label[validation])
    assert train.sum() >= share(len(frames), percent) or len(set(label[validation])) == 1
    left = guarded(frames, train, validation, kept)
    assert not (left & ~validation).any()
    assert apart(frames, train, left, kept)
    again = guarded(frames, train, validation & ~left, NO_GUARD)  # what went was too near, all of it
    assert all(not apart(frames, train, np.arange(len(frames)) == at, kept) for at in np.flatnonzero(again))


@given(layouts, st.lists(st.booleans(), min_size=100, max_size=100), guards)
def test_a_guard_is_kept_around_any_choice(frames, bits, kept):
    train = np.array(bits[: len(frames)])
    left = guarded(frames, train, ~train, kept)
    assert apart(frames, train, left, kept)
    assert (guarded(frames, train, ~train, NO_GUARD) == ~train).all()


@given(layouts, st.sampled_from(["episode", "session", "time"]))
def test_pieces_cover_everything_once(frames, unit):
    parts = pieces(frames, unit, 0.5)
    assert (np.sum([part.frames for part in parts], axis=0) == 1).all()
    assert len({part.name for part in parts}) == len(parts)


@given(st.integers(1, 3000), st.integers(1, 50), st.one_of(st.none(), st.integers(1, 20)))
def test_stages_grow_to_everything(total, first, number):
    assume(number is None or number <= total)
    sizes = stage_sizes(total, first, number)
    assert sizes[-1] == total
    assert sizes == sorted(set(sizes)) or number is not None
    assert all(b == 2 * a for a, b in pairwise(sizes[:-1])) or number is not None
    assert number is None or (len(sizes) == number and sizes[:-1] == [(at + 1) * (total // number) for at in range(number - 1)])


def test_stages_are_those_of_the_original():
    sizes = stage_sizes(1345)
    assert sizes == [10, 20, 40, 80, 160, 320, 640, 1280, 1345]
    parts = stages(made([1345]), sizes, 70, NO_GUARD)
    assert [int(part.frames.sum()) for part in parts][:4] == [7, 3, 14, 6]
    assert [(part.name, int(part.frames.sum())) for part in parts[-2:]] == [("stage9_train", 942), ("stage9_validate", 403)]
    for train, validation in zip(parts[::2], parts[1::2], strict=True):
        ends = np.flatnonzero(train.frames)[[0, -1]], np.flatnonzero(validation.frames)[[0, -1]]
        assert ends[0][0] == 0 and ends[1][0] == ends[0][1] + 1


def test_a_guard_that_leaves_nothing_is_refused():
    frames = made([10])
    with pytest.raises(EditRefused, match="stage 1 of 10 frames leaves none to validate on"):
        stages(frames, [10], 70, Guard(frames=3))
    with pytest.raises(EditRefused, match="this division of 10 frames leaves none to train on"):
        train_and_validation(frames, np.zeros(10, bool), np.ones(10, bool), NO_GUARD)
    with pytest.raises(EditRefused, match="11 stages of 10 frames"):
        stage_sizes(10, count=11)


def test_places_and_lists_as_people_write_them():
    frames = made([10, 5, 5])
    assert before(frames, "0.55").sum() == 6
    assert before(frames, "1:").sum() == 10
    assert before(frames, "1:3").sum() == 13
    assert before(frames, "1:99").sum() == 15  # behind its last step: before what follows
    assert episodes("3, 5-7,3") == [3, 5, 6, 7]
    assert guard("10") == Guard(frames=10) and guard("2.5s") == Guard(seconds=2.5)
    for wrong in ("", "x", "3:x", "nan", "inf", ":3", "-"):
        with pytest.raises(EditRefused, match="is no place"):
            before(frames, wrong)
    with pytest.raises(EditRefused, match="no episode 9 with frames: there are 3 from 0 to 2"):
        before(frames, "9:0")
    for wrong in ("", "x", "3-", "-3", "1,,2", "3-x", "7-5", "0-9999999"):
        with pytest.raises(EditRefused):
            episodes(wrong)
    for wrong in ("", "-1", "s", "2 s", "1m"):
        with pytest.raises(EditRefused, match="is no guard"):
            guard(wrong)
