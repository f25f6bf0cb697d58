"""The picture: pixels worked out by hand."""

import numpy as np
import pytest

from worldmodel.canvas import action_colour, canvas, masked_frame
from worldmodel.spec import ActionSpace

MOVE = ActionSpace(("move",), choices=((0.0,), (1.0,), (2.0,), (3.0,)))
DRIVE = ActionSpace(("left", "right"), low=(0.0, 0.0), high=(1.0, 0.5))


def test_frames_lie_side_by_side_with_the_action_between() -> None:
    frames = np.stack([np.full((2, 3, 3), value, np.uint8) for value in (10, 20, 30)])
    picture = canvas(frames, np.array([[0.0], [1.0]]), MOVE, separator=2)
    assert picture.shape == (2, 3 * 3 + 2 * 2, 3)
    red, green = [255, 0, 0], [0, 255, 0]
    row = [[10] * 3] * 3 + [red] * 2 + [[20] * 3] * 3 + [green] * 2 + [[30] * 3] * 3
    np.testing.assert_array_equal(picture, [row, row])


def test_colours_of_discrete_actions() -> None:
    colours = [action_colour(np.array([float(value)]), MOVE) for value in range(4)]
    assert colours == [((255, 0, 0),), ((0, 255, 0),), ((0, 0, 255),), ((255, 255, 0),)]


def test_continuous_actions_blend_red_to_green_in_one_band_each() -> None:
    frames = np.zeros((2, 4, 1, 3), np.uint8)
    picture = canvas(frames, np.array([[0.0, 0.5]]), DRIVE, separator=1)
    np.testing.assert_array_equal(picture[:, 1], [[255, 0, 0], [255, 0, 0], [0, 255, 0], [0, 255, 0]])
    assert action_colour(np.array([0.5, 0.25]), DRIVE) == ((127, 127, 0), (127, 127, 0))


def test_an_unknown_action_is_grey() -> None:
    assert action_colour(np.array([np.nan]), MOVE) == ((128, 128, 128),)


def test_masked_frame_is_a_checkerboard() -> None:
    frame = masked_frame(9, 16)
    assert frame.shape == (9, 16, 3)
    assert frame[0, 0, 0] == 64
    assert frame[0, 8, 0] == 96
    assert frame[8, 0, 0] == 96


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 frames need 1 actions"):
        canvas(np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 1)), MOVE)
    with pytest.raises(ValueError, match="give uint8"):
        canvas(np.zeros((2, 4, 4, 3), np.float32), np.zeros((1, 1)), MOVE)
