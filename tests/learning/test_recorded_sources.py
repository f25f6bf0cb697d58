"""Recorded sessions as sources: what is learned from, what is held out, read ahead or from memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.trainer.feeder import Feeder
from nodes.trainer.learned import Learned, ranges, read, spans, write
from nodes.trainer.recorded import Recorded
from nodes.trainer.sessions import HeldOut, divided, held_out_of
from storage.views import open_session
from worldmodel.learner import Learner
from worldmodel.spec import ActionSpace, Camera, model_spec
from worldmodel.trainconfig import TrainConfig

SPEC = model_spec((Camera("top", 16, 16),), ActionSpace(("action",), ((0.0,), (1.0,))), width=16, heads=1, encoder_depth=1, decoder_depth=1)
Split = Callable[..., tuple[Recorded, Recorded]]


@pytest.fixture
def split(record_walk: Any, tmp_path: Path) -> Split:
    readers = [open_session(record_walk(tmp_path / name, held_out=(1,))) for name in ("walk", "run")]

    def make(*held_out: str, memory_mb: int = 10) -> tuple[Recorded, Recorded]:
        return divided(readers, ["top"], 2, held_out_of(held_out, ["walk", "run"]), memory_mb)

    return make


def shown(source: Recorded) -> set[int]:
    """The numbers in the corners of all frames of all windows."""
    return {int(value) for value in np.unique(source.windows(source.ids()).frames["top"][:, :, 0, 0, 0])}


def test_recorded_held_out_episodes_are_respected_and_more_can_be_named(split: Split) -> None:
    learned, held_out = split()
    assert (len(learned), len(held_out)) == (2 * 3 * 11, 2 * 11)
    assert shown(held_out) == set(range(10, 22))
    learned, held_out = split("last")
    assert (len(learned), len(held_out)) == (2 * 2 * 11, 2 * 2 * 11)
    learned, held_out = split("0,2-3")
    assert len(learned) == 0
    learned, held_out = split("run")
    assert (len(learned), len(held_out)) == (3 * 11, 11 + 4 * 11)


def test_a_cut_in_time_shares_no_frame(split: Split) -> None:
    learned, held_out = split("50%")
    assert shown(learned) == set(range(12))  # the second episode is held out anyway
    assert shown(held_out) == {*range(10, 22), *range(20, 32), *range(30, 42)}
    learned, held_out = split("from=8")
    assert shown(learned) == set(range(8))
    assert shown(learned.part(learned.ids(3))) == set(range(6))  # so that the third one ahead is learned from, too
    for text in ("wat", "0%", "from=x", "3-"):
        with pytest.raises(ValueError, match="held out"):
            held_out_of([text], [])
    assert held_out_of(["3,5-7", "last"], []) == HeldOut(last=True, episodes=frozenset({3, 5, 6, 7}))


def test_memory_and_disk_show_the_same_and_a_horizon_goes_on(split: Split) -> None:
    quick, slow = split()[0], split(memory_mb=0)[0]
    assert (quick.in_memory, slow.in_memory) == (True, False)
    ids = quick.ids(3)
    assert len(ids) == 2 * 3 * 9
    one, other = quick.windows(ids, 3), slow.windows(ids, 3)
    np.testing.assert_array_equal(one.frames["top"], other.frames["top"])
    np.testing.assert_array_equal(one.actions, other.actions)
    assert one.frames["top"].shape[1] == 5
    corner = one.frames["top"][:, :, 0, 0, 0].astype(int)
    assert (np.diff(corner[:, 1:], axis=1) == 1).all()
    assert np.isnan(one.actions[0, 0]).all()
    assert not np.isnan(one.actions[:, 1:]).any()


def test_reading_ahead_changes_nothing_and_is_saved(split: Split) -> None:
    def ids_seen(memory_mb: int, stops: bool) -> list[list[int]]:
        source = split(memory_mb=memory_mb)[0]
        learner, found = Learner(SPEC, TrainConfig(batch_size=4, precision="fp32"), "cpu"), []
        for turn in range(2):
            with Feeder(learner, source) as feeder:
                for _ in range(3):
                    batch = feeder.next()
                    assert batch.ids is not None
                    np.testing.assert_array_equal(batch.frames["top"], source.windows(batch.ids).frames["top"])
                    found.append(batch.ids.tolist())
                if not stops and turn == 0:
                    found += [feeder.next().ids.tolist() for _ in range(3)]  # type: ignore[union-attr]
                    return found
            tensors, values = learner.state()
            learner = Learner(SPEC, TrainConfig(batch_size=4, precision="fp32"), "cpu")
            learner.load_state(tensors, values)
        return found

    assert ids_seen(0, stops=True) == ids_seen(0, stops=False) == ids_seen(10, stops=False)


def test_what_was_learned_from_is_written_down(split: Split, tmp_path: Path) -> None:
    learned, held_out = split("from=8")
    found = Learned(spans(learned), spans(held_out))
    assert found.learned["walk"] == {0: [(0, 8)]}  # episodes after the first step 8 are behind it too
    assert found.held_out["run"][0] == [(9, 12)]  # its history is held out too
    write(tmp_path, found)
    assert read(tmp_path) == found
    assert ranges(found.learned)["walk", 0] == [range(8)]
    assert read(tmp_path / "nowhere") is None
