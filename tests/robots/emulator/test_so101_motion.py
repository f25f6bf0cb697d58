"""How a servo moves. No clock: what time it is, it is told."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.so101_motion import STICK_COUNTS, Drive, State, advance

FUZZ = settings(max_examples=100, deadline=None, database=None)

SLOW = Drive(goal=1000.0, max_speed=1000.0, acceleration=1000.0)
NEAR = 1e-4

states = st.builds(State, st.floats(-4000, 4000), st.floats(-4000, 4000), st.floats(-1000, 1000))
drives = st.builds(
    Drive, goal=st.floats(-4000, 4000), powered=st.just(True), stuck=st.just(False),
    max_speed=st.floats(10, 3400), acceleration=st.floats(100, 25400), torque_limit=st.just(1000.0), stops=st.just((-1e9, 1e9)),
)  # fmt: skip
times = st.floats(0, 3)


def test_it_gains_speed_goes_and_brakes() -> None:
    half = advance(State(0.0), SLOW, 1.0)
    assert (half.position, half.speed) == pytest.approx((500.0, 1000.0))
    end = advance(half, SLOW, 1.0)
    assert (end.position, end.speed) == (1000.0, 0.0)


def test_a_lower_speed_takes_longer() -> None:
    assert advance(State(0.0), replace(SLOW, max_speed=100.0), 2.0).position == pytest.approx(0.1 * 100 / 2 + 1.9 * 100)


@FUZZ
@given(states, drives, times, times)
def test_two_steps_lead_where_one_does(state: State, drive: Drive, first_s: float, then_s: float) -> None:
    once, twice = advance(state, drive, first_s + then_s), advance(advance(state, drive, first_s), drive, then_s)
    assert once.position == pytest.approx(twice.position, abs=STICK_COUNTS)
    assert once.speed == pytest.approx(twice.speed, abs=drive.acceleration**0.5 * 4)


@FUZZ
@given(states, drives)
def test_it_always_arrives_and_stays(state: State, drive: Drive) -> None:
    end = advance(state, drive, 10_000.0)
    assert end.position == pytest.approx(drive.goal, abs=STICK_COUNTS) and end.speed == 0.0
    assert advance(end, drive, 5.0).position == end.position


@FUZZ
@given(states, drives, times)
def test_it_is_never_faster_nor_brisker_than_it_may(state: State, drive: Drive, dt_s: float) -> None:
    after = advance(state, drive, dt_s)
    assert abs(after.speed) <= max(abs(state.speed), drive.max_speed) + NEAR
    assert abs(after.speed - state.speed) <= drive.acceleration * dt_s + NEAR


def test_without_torque_it_stands_still() -> None:
    going = advance(State(0.0), SLOW, 0.5)
    off = advance(going, replace(SLOW, powered=False), 1.0)
    assert (off.position, off.speed) == (going.position, 0.0)


def test_friction_holds_it_when_little_is_asked_for() -> None:
    assert advance(State(1000.0 - STICK_COUNTS), SLOW, 5.0).position == 1000.0 - STICK_COUNTS
    assert advance(State(999.0 - STICK_COUNTS), SLOW, 5.0).position == 1000.0


def test_who_is_held_pushes_up_to_the_torque_limit() -> None:
    held = replace(SLOW, stuck=True)
    loads = [advance(State(0.0), held, dt_s).load for dt_s in (0.0, 0.02, 0.1, 2.0)]
    assert loads == sorted(loads) and loads[0] == 0.0 and loads[-1] == pytest.approx(1000.0)
    assert advance(State(0.0), replace(held, torque_limit=300.0), 2.0).load == pytest.approx(300.0)
    assert advance(State(0.0), replace(held, goal=-1000.0), 2.0).load == pytest.approx(-1000.0)
    assert advance(State(0.0), replace(held, goal=50.0), 2.0).load < 300.0
    assert advance(State(0.0), held, 2.0).position == 0.0


def test_moving_is_work_too() -> None:
    assert 0 < advance(State(0.0), SLOW, 0.9).load < 300
    assert advance(State(0.0), replace(SLOW, goal=-1000.0), 0.9).load < 0


def test_the_end_of_the_joint_stops_it() -> None:
    walled = replace(SLOW, stops=(-10.0, 400.0))
    there = advance(advance(State(0.0), walled, 5.0), walled, 1.0)
    assert (there.position, there.speed) == (400.0, 0.0)
    assert there.load == pytest.approx(1000.0)
    assert advance(there, replace(walled, goal=0.0), 5.0).position == 0.0


def test_with_too_little_torque_it_does_not_move() -> None:
    assert advance(State(0.0), replace(SLOW, torque_limit=10.0), 5.0).position == 0.0
