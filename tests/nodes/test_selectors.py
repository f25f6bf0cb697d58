"""How the next action is chosen."""

from collections import Counter
from itertools import groupby
from typing import Any

import numpy as np
import pytest

from nodes.predictor.history import History
from nodes.predictor.selectors import SEQUENCES, EndOfActions, Seen, SelectorError, make_selector
from protocol.messages import Action, ActionSpaceInfo

STAY, MOVE = {"action": 0.0}, {"action": 1.0}
DISCRETE = ActionSpaceInfo(names=["action"], choices=[STAY, MOVE])
SEEN = Seen(0, 0, None)
BOX = ActionSpaceInfo(names=["pan", "tilt"], low=[-1.0, 0.0], high=[1.0, 5.0])


def selector(name: str, space: ActionSpaceInfo = DISCRETE, seed: int = 0, otherwise: Action | None = None, **options: Any) -> Any:
    candidates = space.choices or [{"pan": 0.0, "tilt": 2.5}, {"pan": 0.5, "tilt": 1.0}]
    return make_selector(name, options, space, candidates, seed, lambda **options: iter([MOVE, STAY]), otherwise)


def first(made: Any, count: int) -> list[int]:
    return [int(made.select(SEEN)["action"]) for _ in range(count)]


@pytest.mark.parametrize(
    ("name", "played"),
    [
        ("always_move", [1] * 6), ("always_stay", [0] * 6), ("alternate", [0, 1] * 3), ("double_move", [1, 1, 0] * 2),
        ("triple_move", [1, 1, 1, 0, 1, 1]),
    ],
)  # fmt: skip
def test_the_named_sequences(name: str, played: list[int]) -> None:
    assert first(selector("sequence", sequence=name), 6) == played
    assert set(SEQUENCES) >= {name}


def test_a_sequence_plays_on_or_once() -> None:
    assert first(selector("sequence", sequence=[1, 0, 0]), 5) == [1, 0, 0, 1, 0]
    once = selector("sequence", sequence=[1, 0], once=True)
    assert first(once, 2) == [1, 0]
    with pytest.raises(EndOfActions):
        once.select(SEEN)


def test_constant() -> None:
    assert first(selector("constant", index=1), 3) == [1, 1, 1]
    assert first(selector("constant", action={"action": 1}), 2) == [1, 1]
    assert selector("constant", BOX, action={"pan": 1, "tilt": 0}).select(SEEN) == {"pan": 1.0, "tilt": 0.0}


def test_random_holds_for_durations_between_both_ends_included() -> None:
    made = selector("random", seed=3, min_steps=2, max_steps=4)
    actions = [int(made.select(SEEN)["action"]) for _ in range(3000)]
    random, expected = np.random.RandomState(3), []
    while len(expected) < 3000:
        duration = random.randint(2, 5)
        expected += [random.randint(2)] * duration
    assert actions == expected[:3000]
    assert min(len(list(run)) for _, run in groupby(actions[:2990])) >= 2
    assert 0.4 < Counter(actions)[1] / 3000 < 0.6


def test_random_is_the_same_for_the_same_seed_and_new_for_another() -> None:
    one, same, other = (first(selector("random", seed=seed), 50) for seed in (5, 5, 6))
    assert one == same != other
    assert set(first(selector("random", seed=2**40), 50)) == {0, 1}


def test_random_in_a_box_stays_inside() -> None:
    made = selector("random", BOX)
    drawn = [made.select(SEEN) for _ in range(200)]
    assert all(-1 <= one["pan"] <= 1 and 0 <= one["tilt"] <= 5 for one in drawn)
    assert len({one["pan"] for one in drawn}) == 200


def test_recorded_plays_to_its_end() -> None:
    made = selector("recorded", session="x")
    assert first(made, 2) == [1, 0]
    with pytest.raises(EndOfActions, match="have been played"):
        made.select(SEEN)


def test_a_person_decides_or_something_else_is_done_meanwhile() -> None:
    assert selector("person").select(SEEN) is None
    assert selector("person", otherwise=STAY).select(SEEN) == STAY


def test_what_is_chosen_may_be_changed_by_who_takes_it() -> None:
    for made in (selector("constant", index=0), selector("sequence", sequence=[0]), selector("random"), selector("person", otherwise=STAY)):
        made.select(SEEN)["action"] = 9.0
        assert made.select(SEEN)["action"] != 9.0


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("sequence", {"sequence": "doble_move"}, "did you mean 'double_move'?"), ("sequence", {"sequence": "zzz"}, "there are always_move"),
        ("sequence", {"sequence": []}, "sequence is empty"), ("sequence", {"sequence": [2]}, "there is no action 2; choose 0 to 1"),
        ("sequence", {}, "missing required field `sequence`"), ("constant", {"index": -1}, "there is no action -1"),
        ("constant", {"action": {"wat": 1.0}}, "names action; got wat"),
        ("constant", {"action": {"action": 0.5}}, "is not one of the 2 actions"),
        ("constant", {"wat": 1}, "unknown field `wat`"), ("random", {"min_steps": 0}, "give 1 <= min_steps <= max_steps"),
        ("random", {"min_steps": 3, "max_steps": 2}, "give 1 <= min_steps"), ("random", {"wat": 1}, "'wat'"),
        ("random", {"min_steps": "a"}, "random"),
        ("person", {"wat": 1}, "'wat'"), ("wat", {}, "unknown selector 'wat'"),
    ],
)  # fmt: skip
def test_wrong_selectors_are_one_line(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(SelectorError) as caught:
        selector(name, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_constant_outside_the_box_is_refused() -> None:
    with pytest.raises(SelectorError, match=r"tilt=6 is outside \[0, 5\]"):
        selector("constant", BOX, action={"pan": 0.0, "tilt": 6.0})


# -- history --------------------------------------------------------------------------------------


def images(value: int) -> dict[str, np.ndarray]:
    return {"a": np.full((2, 2, 3), value, np.uint8), "b": np.full((1, 1, 3), value, np.uint8)}


def history(frames: list[tuple[int, int]], actions: list[tuple[int, int]], length: int = 3) -> History:
    made = History(length, 1)
    for place in frames:
        made.add_frame(place, images(place[1]))
    for place in actions:
        made.add_action(place, np.array([place[1]], np.float32))
    return made


@pytest.mark.parametrize(
    ("frames", "actions", "seen", "past"),
    [
        ([(0, 5)], [], [5], []),
        ([(0, 4), (0, 5)], [(0, 4)], [4, 5], [4]),
        ([(0, 2), (0, 3), (0, 4), (0, 5)], [(0, 2), (0, 3), (0, 4)], [3, 4, 5], [3, 4]),
        ([(0, 3), (0, 5)], [(0, 3), (0, 4)], [5], []),  # a frame is missing
        ([(0, 3), (0, 4), (0, 5)], [(0, 4)], [4, 5], [4]),  # an action is missing
        ([(1, 3), (1, 4), (0, 5)], [(1, 3), (1, 4)], [5], []),  # of another episode
    ],
)
def test_history_goes_back_as_far_as_nothing_is_missing(frames: Any, actions: Any, seen: list[int], past: list[int]) -> None:
    stacked, vectors = history(frames, actions).until((0, 5))
    assert stacked["a"][:, 0, 0, 0].tolist() == seen
    assert stacked["b"].shape == (len(seen), 1, 1, 3)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(past), 1)
    assert vectors[:, 0].tolist() == past


def test_history_forgets_the_oldest() -> None:
    made = history([(0, n) for n in range(5)], [(0, n) for n in range(50)])
    assert made.frame((0, 1)) is None
    assert made.frame((0, 2)) is not None
    with pytest.raises(KeyError):
        made.until((0, 0))
