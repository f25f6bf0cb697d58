"""Scores of predictors whose scores are known."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from worldmodel.batch import Batch
from worldmodel.evaluate import Probe, score_probe, score_transitions, torus_position

Array = np.ndarray[Any, Any]


class Oracle:
    """Looks the truth up by the last frame, then spoils it."""

    def __init__(self, probe: Probe, spoil: Callable[[Array, Array], Array]) -> None:
        self.table = {probe.frames["top"][i, -1].tobytes(): probe.next["top"][i] for i in range(len(probe.past_actions))}
        self.spoil = spoil

    def predict_batch(self, frames: dict[str, Array], past_actions: Array, candidates: Array) -> dict[str, Array]:
        last = frames["top"][:, -1]
        truth = np.stack([self.table[image.tobytes()] for image in last])
        return {"top": self.spoil(truth, last[:, None])}


@pytest.fixture
def probe(world) -> Probe:  # type: ignore[no-untyped-def]
    return world.probe(context=2, rows=2)  # type: ignore[no-any-return]


def test_perfect(probe: Probe) -> None:
    scores = score_probe(Oracle(probe, lambda truth, last: truth), probe)
    assert (scores.cf_accuracy, scores.hit_at_3px, scores.skill_copy_last, scores.skill_action_blind) == (1, 1, 1, 1)
    assert scores.prediction_error == 0


def test_copy_last_has_no_skill_and_is_right_about_staying(probe: Probe) -> None:
    scores = score_probe(Oracle(probe, lambda truth, last: np.repeat(last, 2, axis=1)), probe)
    assert (scores.cf_accuracy, scores.hit_at_3px, scores.skill_copy_last) == (0.5, 0.5, 0.0)
    # Two ghosts at half brightness are half as wrong as copying.
    assert scores.skill_action_blind == pytest.approx(-1.0)
    # A step of 9 px separates discs of radius 3: both of its 29-pixel discs are wrong, in half of the cases.
    assert scores.copy_last_error == pytest.approx(29 / 64**2)


def test_action_blind_has_half_the_skill(probe: Probe) -> None:
    blind = lambda truth, last: np.repeat(truth.mean(axis=1, keepdims=True), 2, axis=1)  # noqa: E731
    scores = score_probe(Oracle(probe, blind), probe)
    assert scores.skill_copy_last == pytest.approx(0.5)
    assert scores.skill_action_blind == pytest.approx(0.0, abs=1e-6)
    assert scores.hit_at_3px == 0.0  # its centroid lies 4.5 px from either place


def test_a_ghost_costs_hits_but_not_accuracy(probe: Probe) -> None:
    def ghost(truth: Array, last: Array) -> Array:
        return np.maximum(truth, last * 0.6)

    scores = score_probe(Oracle(probe, ghost), probe)
    assert scores.cf_accuracy == 1.0
    assert scores.hit_at_3px == pytest.approx(0.5)  # 9 px * .6 / 1.6 = 3.4 px off when it moved
    assert scores.skill_copy_last == pytest.approx(1 - 0.36 / 2)


def test_black_hits_nothing(probe: Probe) -> None:
    scores = score_probe(Oracle(probe, lambda truth, last: np.zeros_like(truth)), probe)
    assert scores.hit_at_3px == 0.0
    assert score_probe(Oracle(probe, lambda t, _: t), dataclasses.replace(probe, position=None)).hit_at_3px is None


def test_position_wraps_around_the_torus(world) -> None:  # type: ignore[no-untyped-def]
    images = np.stack([world.draw(0, 63), world.draw(62, 1), world.draw(30, 31)])
    places = torus_position(images)
    expected = np.array([[0, 63], [62, 1], [30, 31]])
    away = np.abs(places - expected) % 64
    assert np.minimum(away, 64 - away).max() < 1e-3
    assert np.isnan(torus_position(np.zeros((8, 8, 3), np.uint8))).all()


def test_transitions_have_errors(world) -> None:  # type: ignore[no-untyped-def]
    class Copy:
        def predict_batch(self, frames: dict[str, Array], past_actions: Array, candidates: Array) -> dict[str, Array]:
            return {"top": frames["top"][:, -1:]}

    windows = [np.stack([world.draw(x, y), world.draw(x, y), world.draw(x + 9, y)]) for x, y in ((10, 10), (40, 30))]
    scores = score_transitions(Copy(), Batch({"top": np.stack(windows)}, np.ones((2, 2, 1), np.float32)))
    assert scores.cf_accuracy is None
    assert scores.hit_at_3px is None
    assert scores.skill_action_blind is None
    assert scores.skill_copy_last == 0.0
    assert scores.nearest_neighbour_error is None
    assert scores.prediction_error == pytest.approx(2 * 29 / 64**2)


def test_a_marker_is_found_by_its_colour_on_a_plane(probe: Probe) -> None:
    red = np.array([255, 0, 0], np.uint8)
    image = np.full((64, 64, 3), 200, np.uint8)
    image[10:13, 58:61] = (180, 30, 20)  # in the shade
    still = dataclasses.replace(
        probe.part(slice(0, 1)),
        frames={"top": image[None, None].repeat(2, axis=1)}, next={"top": image[None, None].repeat(2, axis=1)},
        position=np.array([[[59.0, 11.0], [59.0, 11.0]]], np.float32), colour=red,
    )  # fmt: skip
    assert score_probe(Oracle(still, lambda truth, last: truth), still).hit_at_3px == 1.0
    assert score_probe(Oracle(still, lambda truth, last: np.roll(truth, 5, axis=-2)), still).hit_at_3px == 0.0


def test_where_nothing_changes_there_is_no_skill_to_measure(probe: Probe) -> None:
    still = dataclasses.replace(probe, next={"top": np.repeat(probe.frames["top"][:, -1:], 2, axis=1)})
    assert score_probe(Oracle(still, lambda truth, last: truth), still).skill_copy_last is None
