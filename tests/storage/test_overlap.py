"""Transitions that are in two sessions: found exactly, found by their looks, and left out of a validation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from protocol import messages as m
from storage.editing.overlap import dhash, find_overlap, without
from storage.editing.source import Source
from storage.errors import EditRefused
from storage.paths import session_names
from storage.verify import check
from storage.views import open_session
from storage.writer import SessionWriter


@pytest.fixture
def recorded(tmp_path, robot, make, pixels):
    """Makes a session of episodes, each a list of (picture number, dx); its path."""

    def record(name: str, *episodes, noise: int = 0, success: bool = True, **robot_fields):
        import msgspec

        with SessionWriter.create(tmp_path / name, robot=msgspec.structs.replace(robot, **robot_fields)) as writer:
            seq = 0
            for number, steps in enumerate(episodes):
                for step, (picture, dx) in enumerate(steps):
                    place = {"episode": number, "step": step, "run": f"run-{name}"}
                    image = np.clip(pixels(picture).astype(int) + noise, 0, 255).astype(np.uint8)
                    writer.append(make("frame/robot", seq, m.Frame(), {"image/front": image}, **place))
                    body = m.ActionTaken(action={"dx": dx}, by="random", start_ns=0, end_ns=1, success=success)
                    writer.append(make("action/robot", seq, body, **place))
                    seq += 1
        return tmp_path / name

    return record


def found(train, validation, bits=None):
    with open_session(train) as ours, open_session(validation) as theirs:
        return find_overlap(ours, theirs, bits)


def test_all_three_must_be_the_same(recorded):
    train = recorded("train", [(1, 0.0), (2, 1.0), (3, 0.0)])
    validation = recorded(
        "validation",
        [(9, 0.0), (1, 0.0), (2, 1.0), (4, 1.0)],  # 1 to 2 is known; 2 to 4 has another end
        [(1, 1.0), (2, 0.0), (3, 0.0)],  # other actions
        [(2, 1.0), (3, 1.0)],  # known, in another episode
    )
    overlap = found(train, validation)
    assert (overlap.train_transitions, overlap.transitions, overlap.shared) == (2, 6, 2)
    assert overlap.first == [(0, 1), (2, 0)]
    assert found(train, recorded("failed", [(1, 0.0), (2, 1.0)], success=False)).transitions == 0


def test_by_their_looks(recorded):
    train = recorded("train", [(1, 0.0), (2, 1.0), (3, 0.0)])
    brighter = recorded("brighter", [(1, 0.0), (2, 1.0), (3, 1.0)], [(7, 0.0), (8, 1.0)], noise=6)
    assert found(train, brighter).shared == 0
    assert found(train, brighter, 8).first == [(0, 0), (0, 1)]
    other = recorded("other", [(1, 1.0), (2, 0.0)], noise=6)
    assert found(train, other, 8).shared == 0  # another choice
    assert found(train, brighter, 64).shared == 3
    with pytest.raises(EditRefused, match="65 bits cannot be"):
        found(train, brighter, 65)
    continuous = m.ActionSpaceInfo(names=["dx"], low=[-1.0], high=[1.0])
    assert found(train, recorded("steered", [(1, 0.33), (2, 0.44)], actions=continuous), 0).shared == 1


def test_a_validation_without_them(recorded, tmp_path):
    train = recorded("train", [(1, 0.0), (2, 1.0), (3, 0.0)])
    validation = recorded("validation", [(9, 0.0), (1, 0.0), (2, 1.0), (4, 1.0)], [(2, 1.0), (3, 1.0)])
    overlap = found(train, validation)
    with Source(validation) as source:
        made = without(source, overlap, "fresh").write()
    assert (made[0].frames, made[0].events) == (6, 10)
    again = found(train, tmp_path / "fresh")
    assert (again.shared, again.transitions) == (0, overlap.transitions - overlap.shared)
    assert check(tmp_path / "fresh").exit_code == 0
    # of a split too: numbers are the split's own
    with Source(tmp_path / "fresh") as source, open_session(validation) as ours, open_session(tmp_path / "fresh") as theirs:
        without(source, find_overlap(ours, theirs), "none").write()
    assert found(validation, tmp_path / "none").transitions == 0
    assert session_names(tmp_path) == ["fresh", "none", "train", "validation"]


def test_dhash_sees_what_moved_and_not_how_bright_it_is(pixels):
    image = np.zeros((48, 64, 3), np.uint8)
    image[20:28, 10:18] = 255
    moved = np.roll(image, 20, axis=1)
    assert dhash(image) == dhash(image // 2) != dhash(moved)
    wide = np.linspace(0, 250, 90).astype(np.uint8)[None, :, None].repeat(40, 0).repeat(3, 2)
    assert dhash(wide) == 2**64 - 1 and dhash(wide[:, ::-1]) == 0


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))))
def test_dhash_takes_any_picture(image):
    assert 0 <= int(dhash(image)) < 2**64


def test_transitions_of_the_real_recording(tub, tmp_path):
    from storage.editing.splits import in_two
    from storage.editing.wanted import Guard
    from storage.exchange.tub_import import import_tub

    import_tub(tub, tmp_path / "car", fps=20, episodes_at=[151, 514, 516, 527, 651, 666])
    with Source(tmp_path / "car") as source:
        train, validation = in_two(source, "car", "time", guard=Guard(frames=5)).write()
    exact = found(tmp_path / train.name, tmp_path / validation.name)
    assert (exact.train_transitions, exact.transitions, exact.shared) == (693, 294, 0)
    looks = [found(tmp_path / train.name, tmp_path / validation.name, bits).shared for bits in (0, 8)]
    assert looks == sorted(looks) and looks[-1] > 0
    assert found(tmp_path / "car", tmp_path / validation.name).shared == 294
