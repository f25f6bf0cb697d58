"""What a JetBot is told when; no robot, no clock."""

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.robot.jetbot.core import RENEW_S, Freshness, backoff, length_s, ramp

SPEEDS = st.floats(-1, 1).filter(bool)


def test_the_ramp_of_the_original_action() -> None:
    """Four steps up, held, four down, as the original's: 15 ms apart, the first at once."""
    told = ramp(0.0, 0.12, 0.2, 4, 0.015)
    assert [round(at_s * 1000) for at_s, _, _ in told] == [0, 15, 30, 45, 60, 200, 215, 230, 245]
    assert [round(right, 3) for _, _, right in told] == [0.03, 0.06, 0.09, 0.12, 0.12, 0.09, 0.06, 0.03, 0.0]
    assert not any(left for _, left, _ in told)
    assert length_s(0.2, 4, 0.015) == pytest.approx(told[-1][0])


@given(SPEEDS, SPEEDS, st.floats(0.01, 5), st.integers(1, 20), st.floats(0.001, 0.1))
def test_every_action_ends_standing_and_is_never_silent_for_long(
    left: float, right: float, duration_s: float, steps: int, step_s: float
) -> None:
    told = ramp(left, right, duration_s, steps, step_s)
    assert told[-1][1:] == (0.0, 0.0)
    assert all(abs(a) <= abs(left) and abs(b) <= abs(right) for _, a, b in told)
    assert (told[steps - 1][1], told[steps - 1][2]) == (left, right)
    assert all(0 <= after - before <= max(RENEW_S, step_s) + 1e-9 for (before, _, _), (after, _, _) in pairwise(told))
    assert told[-1][0] == pytest.approx(length_s(duration_s, steps, step_s))


def test_standing_still_is_not_told_at_all() -> None:
    assert ramp(0.0, 0.0, 0.2, 4, 0.015) == []
    assert length_s(0.0, 4, 0.015) == 0.0


def test_tries_come_ever_slower_but_never_end() -> None:
    assert list(islice(backoff(0.1, 1.0), 6)) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_the_same_picture_for_too_long_is_noticed() -> None:
    fresh = Freshness(3.0)
    assert [fresh.same_for_s(b"a", now_s) for now_s in (0.0, 1.0, 2.9)] == [0, 0, 0]
    assert fresh.same_for_s(b"a", 3.5) == 3.5
    assert fresh.same_for_s(b"b", 3.6) == 0


def test_two_pictures_far_apart_say_nothing_about_what_was_between() -> None:
    fresh = Freshness(3.0)
    assert fresh.same_for_s(b"a", 0.0) == fresh.same_for_s(b"a", 60.0) == 0


def test_pictures_may_stay_the_same_where_that_is_allowed() -> None:
    fresh = Freshness(0.0)
    assert [fresh.same_for_s(b"a", now_s) for now_s in (0.0, 50.0, 90.0, 500.0)] == [0, 0, 0, 0]
