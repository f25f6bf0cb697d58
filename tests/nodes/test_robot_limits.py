"""What a robot may be told, whatever its driver allows."""

import math
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from nodes.robot.config import RobotConfig
from nodes.robot.core import CommandGate
from nodes.robot.limits import Limit, Limits
from protocol.messages import ActionSpaceInfo, Command

BOX = ActionSpaceInfo(names=["pan", "lift"], low=[-1.0, 0.0], high=[1.0, 2.0])
CHOICES = ActionSpaceInfo(names=["speed"], choices=[{"speed": 0.0}, {"speed": 2.0}])
REST = {"pan": 0.0, "lift": 0.0}


def limits(step_s: float = 0.1, **given: Limit) -> Limits:
    return Limits(given, BOX, REST, step_s)


@pytest.mark.parametrize(
    ("pan", "inside"),
    [(0.5, True), (-0.2, True), (0.51, False), (-0.21, False), (math.nan, False), (math.inf, False), (-math.inf, False)],
)
def test_values(pan: float, inside: bool) -> None:
    assert (limits(pan=Limit(min=-0.2, max=0.5)).over({"pan": pan, "lift": 1.0}) == "") is inside


def test_a_missing_number_is_outside_and_one_side_may_be_open() -> None:
    assert "pan=nan" in limits(pan=Limit(max=1.0)).over({"lift": 1.0})
    assert limits(lift=Limit(max=1.0)).over({"pan": 0.0, "lift": -50.0}) == ""
    assert limits().over({"pan": math.nan}) == "", "the action space is not its business"


def test_the_gate_refuses_and_counts_what_is_over() -> None:
    gate = CommandGate(BOX, limits(pan=Limit(max=0.5)))
    for pan in (0.6, math.nan):
        assert gate.offer(Command(action={"pan": pan, "lift": 0.0}, by="x", deadline_mono_ns=9), (0, 0), (0, 0), 1)
    assert gate.refused == {"over_limit": 2}
    assert gate.offer(Command(action={"pan": 0.5, "lift": 0.0}, by="x", deadline_mono_ns=9), (0, 0), (0, 0), 1) == ""


def test_a_rate_takes_an_action_as_far_as_it_may_go() -> None:
    held = limits(pan=Limit(max_rate_per_s=2.0))
    now_s, seen = 100.0, []
    for _ in range(7):
        out = held.slowed({"pan": 1.0, "lift": 2.0}, now_s)
        held.moved(out, now_s)
        seen.append(out["pan"])
        assert out["lift"] == 2.0, "only what is limited"
        now_s += 0.1
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0, 1.0])
    assert held.slowed({"pan": -1.0, "lift": 0.0}, now_s)["pan"] == pytest.approx(0.8)


def test_a_pause_gives_no_more_than_a_step_and_a_stopped_robot_begins_at_rest() -> None:
    held = limits(pan=Limit(max_rate_per_s=2.0))
    held.moved({"pan": 1.0, "lift": 0.0}, 100.0)
    assert held.slowed({"pan": -1.0, "lift": 0.0}, 1000.0)["pan"] == pytest.approx(0.8)
    assert held.slowed({"pan": -1.0, "lift": 0.0}, 100.05)["pan"] == pytest.approx(0.9)
    assert held.slowed({"pan": -1.0, "lift": 0.0}, 99.0)["pan"] == 1.0, "no time has gone by"
    held.rested(REST)
    assert held.slowed({"pan": 1.0, "lift": 0.0}, 100.01)["pan"] == pytest.approx(0.2)
    unpaced = limits(step_s=0.0, pan=Limit(max_rate_per_s=0.5))
    assert unpaced.slowed({"pan": 1.0, "lift": 0.0}, 5.0)["pan"] == pytest.approx(0.5)


def test_no_jump_is_ever_larger_than_the_rate_allows() -> None:
    random = np.random.default_rng(0)
    held = limits(pan=Limit(min=-0.5, max=0.5, max_rate_per_s=3.0))
    now_s, seen = 0.0, [(0.0, 0.0)]
    for _ in range(500):
        now_s += float(random.exponential(0.1))
        out = held.slowed({"pan": float(random.uniform(-0.5, 0.5)), "lift": 0.0}, now_s)
        held.moved(out, now_s)
        seen.append((now_s, out["pan"]))
    for (before_s, before), (after_s, after) in list(pairwise(seen))[1:]:
        assert abs(after - before) <= 3.0 * min(after_s - before_s, 0.1) + 1e-9
        assert -0.5 <= after <= 0.5


def test_what_is_offered_is_what_is_allowed() -> None:
    space = limits(pan=Limit(min=-0.2), lift=Limit(max=5.0)).space
    assert (space.low, space.high) == ([-0.2, 0.0], [1.0, 2.0])
    assert limits().space is BOX
    assert Limits({"speed": Limit(max=2.0)}, CHOICES, {"speed": 0.0}).space is CHOICES


@pytest.mark.parametrize(
    ("given", "space", "safe", "says"),
    [
        ({"pann": Limit()}, BOX, REST, "this robot has no action 'pann'; did you mean 'pan'?"),
        ({"pan": Limit(min=0.5)}, BOX, REST, "the safe action {'pan': 0.0, 'lift': 0.0} is outside: pan=0"),
        ({"pan": Limit(min=0.0, max=0.0)}, BOX, REST, "nothing is left of pan: [0, 0]"),
        ({"speed": Limit(max=1.0)}, CHOICES, {"speed": 0.0}, "choice {'speed': 2.0} can never be made: speed=2 is outside"),
        ({"speed": Limit(max_rate_per_s=1.0)}, CHOICES, {"speed": 0.0}, "speed has max_rate_per_s, but this robot's actions are choices"),
    ],
)  # fmt: skip
def test_limits_that_cannot_be_are_one_line(given: dict[str, Limit], space: ActionSpaceInfo, safe: dict[str, float], says: str) -> None:
    with pytest.raises(ValueError, match="limits: ") as caught:
        Limits(given, space, safe)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"limits": {"pan": {"min": 2, "max": 1}}}, {"limits": {"pan": {"min": float("nan")}}}, {"limits": {"pan": {"max_rate_per_s": 0}}},
        {"limits": {"pan": {"maximum": 1}}}, {"silence_s": -1}, {"max_action_s": -0.5}, {"limits": {"pan": {}}, "driver": "replay"},
    ],
)  # fmt: skip
def test_a_config_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, RobotConfig)


@pytest.mark.parametrize("timing", ["lockstep", "paced"])
@pytest.mark.parametrize(("driver", "on_full"), [("toroidal_dot", "block"), ("replay", "block"), ("my.wheels:Wheels", "count")])
def test_a_real_robot_never_waits_for_its_subscribers(driver: str, timing: Any, on_full: str) -> None:
    assert RobotConfig(driver=driver, timing=timing).on_full == on_full


def test_defaults_are_safe_where_a_robot_moves_by_itself() -> None:
    paced, lockstep, own = RobotConfig(timing="paced"), RobotConfig(), RobotConfig(driver="my.wheels:Wheels")
    assert (paced.silence_limit_s, paced.action_limit_s) == (1.0, 1.0)
    assert (lockstep.silence_limit_s, lockstep.action_limit_s) == (0.0, 0.0)
    assert (own.timing, own.silence_limit_s, own.action_limit_s) == ("lockstep", 1.0, 1.0)
    assert RobotConfig(driver="my.wheels:Wheels", silence_s=0).silence_limit_s == 0.0
    assert RobotConfig(silence_s=3.0).action_limit_s == 3.0
    assert RobotConfig(silence_s=3.0, max_action_s=9.0).action_limit_s == 9.0
    # what a launch file says survives the trip through the wiring file
    config = RobotConfig(limits={"pan": Limit(max=1.0)})
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(config)), RobotConfig) == config
