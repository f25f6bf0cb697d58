"""Pictures of the arm: where its joints are, and that each is seen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("cv2", reason="needs the extra so101")
from emulators.so101 import JOINTS
from emulators.so101_drawing import BLUE, LOWEST, RED, Picture, points, pose, view

SIZE = (224, 224)
HOME = {joint.name: joint.home for joint in JOINTS}
LOW = {joint.name: joint.low for joint in JOINTS}
MANY = 25  # pixels: a tenth of a joint's range is no fewer
NAMES = st.sampled_from(["front", "side", "top", "wrist"])
SEEDS = st.integers(0, 1000)


@pytest.mark.parametrize(
    ("angles", "tip"),
    [((0, 0, 0, 0, 0), (0.3914, 0, 0.2265)), ((0, 0.5, -0.5, 0, 0), (0.4419, 0, 0.1993)),
     ((np.pi / 3, 0.3, -0.4, 0.2, 0), (0.2297, -0.3306, 0.2108)), ((0.5, 0.6, -0.8, 0.3, 0.7), (0.3927, -0.1992, 0.2036))],
)  # fmt: skip
def test_the_arm_is_as_long_as_a_real_one(angles: tuple[float, ...], tip: tuple[float, ...]) -> None:
    assert points(dict(zip(LOWEST, (*angles, 0.0), strict=True)))["tip"] == pytest.approx(tip, abs=1e-4)


def test_counts_are_angles() -> None:
    assert pose(LOW, LOW) == LOWEST
    middle = pose({joint.name: (joint.low + joint.high) / 2 for joint in JOINTS}, LOW)
    assert middle["shoulder_pan"] == pytest.approx(0.0, abs=1e-3) and middle["gripper"] == pytest.approx(0.785, abs=1e-2)


@settings(max_examples=10, deadline=None, database=None)
@given(name=NAMES, seed=SEEDS)
def test_every_joint_that_moves_is_seen(name: str, seed: int) -> None:
    picture = Picture(name, seed, SIZE)
    before = picture.draw(pose(HOME, LOW), 0).astype(int)
    for joint in JOINTS:
        after = picture.draw(pose(HOME | {joint.name: joint.home + (joint.high - joint.low) // 10}, LOW), 0)
        assert (abs(after - before).max(axis=2) > 60).sum() >= MANY, joint.name


@settings(max_examples=10, deadline=None, database=None)
@given(name=NAMES, seed=SEEDS)
def test_red_is_where_the_jaw_is_and_blue_where_the_shoulder(name: str, seed: int) -> None:
    angles = pose(HOME | {"gripper": 3200}, LOW)
    where = points(angles)
    image = Picture(name, seed, SIZE).draw(angles, 0).astype(int)
    for begin, end, colour in (("gripper", "jaw", RED), ("shoulder_pan", "shoulder_lift", BLUE)):
        (seen,), _ = view(name, seed, SIZE).project((where[begin] + where[end])[None] / 2)
        rows, columns = np.nonzero(abs(image - colour).max(axis=2) < 30)
        assert len(rows) and abs(np.median(columns) - seen[0]) < 12 and abs(np.median(rows) - seen[1]) < 12


def test_another_name_or_seed_is_another_point_of_view_and_the_same_is_the_same() -> None:
    angles = pose(HOME, LOW)
    seen = [Picture(name, seed, SIZE).draw(angles, 0) for name, seed in (("front", 0), ("side", 0), ("front", 1), ("front", 0))]
    assert np.array_equal(seen[0], seen[3])
    assert all((abs(seen[0].astype(int) - other).max(axis=2) > 60).sum() > MANY for other in seen[1:3])


def test_a_camera_has_noise_and_any_size() -> None:
    picture = Picture("front", 0, (64, 48))
    first, second = (picture.draw(pose(HOME, LOW), frame) for frame in (0, 1))
    assert first.shape == (48, 64, 3) and first.dtype == np.uint8
    assert not np.array_equal(first, second) and abs(first.astype(int) - second).mean() < 4
