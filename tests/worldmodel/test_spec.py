"""Specs: identity, differences, action codes."""

import subprocess
import sys

import numpy as np
import pytest

from worldmodel.spec import ActionSpace, Camera, ModelSpec, SpecError, choose_patch, model_spec

SWITCH = ActionSpace(("a", "b"), choices=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))
CAR = ActionSpace(("angle", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.0))
CAMERAS = (Camera("front", 64, 64),)


def test_json_keeps_the_spec_and_its_hash() -> None:
    spec = model_spec(CAMERAS, SWITCH)
    again = ModelSpec.from_json(spec.to_json())
    assert again == spec
    assert again.hash == spec.hash
    assert len(spec.hash) == 64


def test_another_spec_has_another_hash_and_names_the_difference() -> None:
    spec = model_spec(CAMERAS, SWITCH)
    other = model_spec(CAMERAS, CAR, patch=16)
    assert other.hash != spec.hash
    assert spec.differing_fields(other) == {"actions": (SWITCH, CAR), "patch": (8, 16)}


def test_discrete_actions_are_one_hot_of_the_nearest_choice() -> None:
    encoded = SWITCH.encode(np.array([[0.1, 0.2], [1.0, 0.9], [np.nan, 0.0]]))
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded[:2], [[1, 0, 0], [0, 0, 1]])
    assert np.isnan(encoded[2]).all()
    assert SWITCH.discrete
    assert SWITCH.encoded_size == 3


def test_continuous_actions_are_scaled_to_plus_minus_one() -> None:
    encoded = CAR.encode(np.array([[[-1.0, 2.0], [0.0, 1.0]]]))
    np.testing.assert_allclose(encoded, [[[-1.0, 1.0], [0.0, 0.0]]])
    assert not CAR.discrete
    assert CAR.encoded_size == 2


def test_candidates_are_the_choices_or_fill_the_box_from_its_centre() -> None:
    np.testing.assert_array_equal(SWITCH.candidates(), SWITCH.choices)
    points = CAR.candidates(n=9)
    np.testing.assert_allclose(points[0], [0.0, 1.0])
    assert points.shape == (9, 2)
    assert points.dtype == np.float32
    assert (points >= CAR.low).all()
    assert (points <= CAR.high).all()
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(9)
    assert gaps.min() > 0.1
    assert not np.array_equal(points[1:], CAR.candidates(n=9, seed=1)[1:])


@pytest.mark.parametrize(("height", "width", "patch"), [(64, 64, 8), (224, 224, 28), (120, 160, 20)])
def test_patch_follows_the_frame_size(height: int, width: int, patch: int) -> None:
    assert choose_patch((Camera("c", height, width),)) == patch


def test_mistakes_are_named() -> None:
    with pytest.raises(SpecError, match="no field 'colour'"):
        model_spec(CAMERAS, SWITCH, colour=1)
    with pytest.raises(SpecError, match="no preset 'huge'"):
        model_spec(CAMERAS, SWITCH, "huge")
    for wrong, says in (
        ({"pach": 8}, "did you mean 'patch'"), ({"family": "todle"}, "did you mean 'toddle'"),
        ({"width": "wide"}, "spec.width: Expected `int`"), ({"cameras": ["top"]}, "no field 'cameras'"),
    ):  # fmt: skip
        with pytest.raises(SpecError, match=says):
            model_spec(CAMERAS, SWITCH, **wrong)
    with pytest.raises(SpecError, match="needs low and high"):
        ActionSpace(("a",))
    with pytest.raises(SpecError, match="do not end in 2 numbers"):
        CAR.encode(np.zeros((4, 3)))
    with pytest.raises(SpecError, match="not a model spec"):
        ModelSpec.from_json('{"cameras": 1}')
    with pytest.raises(SpecError, match="each with its own name"):
        model_spec(CAMERAS + CAMERAS, SWITCH)


def test_spec_canvas_and_buffer_do_not_import_torch() -> None:
    code = (
        "import sys, worldmodel.spec, worldmodel.canvas, worldmodel.batch, worldmodel.evaluate, nodes.trainer.buffer;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
