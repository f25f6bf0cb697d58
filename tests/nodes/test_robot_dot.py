"""The toroidal dot as specified, pixel by pixel and draw by draw, and the pure parts of the robot node."""

from typing import Any

import numpy as np
import pytest

from nodes.robot.config import RobotConfig, bytes_per_step
from nodes.robot.core import CommandGate, Progress, Rate
from nodes.robot.dot import HISTORY, ToroidalDot
from nodes.robot.drivers import make_driver
from nodes.robot.interface import KnowsTruth, Observation, RobotError, check_action, check_observation
from nodes.robot.limits import Limit, Limits
from protocol.messages import ActionSpaceInfo, Command

SMALL = {"size": 16, "radius": 2, "step": 5, "probe_states": 20}


def picture(x: int, y: int, size: int, radius: int) -> np.ndarray:
    """Slowly, from the specification: every pixel within the radius on the torus is white."""
    image = np.zeros((size, size, 3), np.uint8)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx * dx + dy * dy <= radius * radius:
                image[(y + dy) % size, (x + dx) % size] = 255
    return image


@pytest.mark.parametrize("place", [(8, 8), (0, 1), (15, 15), (1, 14)])
def test_the_disc_wraps_around_every_edge(place: tuple[int, int]) -> None:
    dot = ToroidalDot({**SMALL, "initial_x": place[0], "initial_y": place[1]}, seed=0)
    seen = dot.observe()
    assert np.array_equal(seen.images["top"], picture(*place, 16, 2))
    assert seen.state is not None
    assert (seen.state.dtype, seen.state.tolist()) == (np.float32, list(place))
    assert check_observation(seen) == ""


def test_the_original_world_is_the_default() -> None:
    dot = ToroidalDot({"initial_x": 100, "initial_y": 100}, seed=0)
    image = dot.observe().images["top"]
    assert image.shape == (224, 224, 3)
    assert (image == 255).all(axis=2).sum() == 81
    assert set(np.unique(image)) == {0, 255}
    places = set()
    for _ in range(224):  # gcd(27, 224) = 1: the orbit visits every column
        assert dot.execute({"action": 1.0}) is True
        places.add(dot.position()[0])
    assert (len(places), dot.position()) == (224, (100, 100))


def test_action_one_moves_right_and_zero_stays() -> None:
    dot = ToroidalDot({**SMALL, "initial_x": 13, "initial_y": 4}, seed=0)
    assert dot.execute({"action": 0.0}) is True
    assert dot.position() == (13, 4)
    assert dot.execute({"action": 1}) is True
    assert dot.position() == (2, 4)


@pytest.mark.parametrize("seed", range(5))
def test_places_are_drawn_as_specified(seed: int) -> None:
    random = np.random.RandomState(seed)
    dot = ToroidalDot({**SMALL, "holdout_modulus": 0}, seed)
    for _ in range(10):
        assert dot.position() == (random.randint(0, 16), random.randint(0, 16))
        dot.reset()


def test_held_out_rows_are_never_shown_live() -> None:
    dot = ToroidalDot({**SMALL, "holdout_modulus": 3}, seed=1)
    rows = set()
    for _ in range(300):
        rows.add(dot.position()[1])
        dot.reset()
    assert rows == {y for y in range(16) if y % 3}


def test_the_probe_is_true_and_its_histories_are_consistent() -> None:
    dot = ToroidalDot({**SMALL, "holdout_modulus": 3}, seed=1)
    assert isinstance(dot, KnowsTruth)
    probe = dot.probe()
    assert probe is not None
    arrays = probe[1]
    assert arrays["history/top"].shape == (20, HISTORY, 16, 16, 3)
    assert arrays["past_actions"].shape == (20, HISTORY - 1, 1)
    assert arrays["candidates"].tolist() == [[0.0], [1.0]]
    assert arrays["next/top"].shape == (20, 2, 16, 16, 3)
    assert {array.dtype.name for array in arrays.values()} == {"uint8", "float32"}
    for n in range(20):
        x, y = (int(value) for value in arrays["position"][n, 0])  # action 0 stays
        assert y % 3 == 0
        assert arrays["position"][n, 1].tolist() == [(x + 5) % 16, y]
        for candidate, place in enumerate((x, (x + 5) % 16)):
            assert np.array_equal(arrays["next/top"][n, candidate], picture(place, y, 16, 2))
        back = 0
        for k in reversed(range(HISTORY)):  # played backwards from the last frame
            assert np.array_equal(arrays["history/top"][n, k], picture((x - 5 * back) % 16, y, 16, 2))
            back += int(arrays["past_actions"][n, k - 1, 0]) if k else 0
    again = ToroidalDot({**SMALL, "holdout_modulus": 3}, seed=1).probe()
    assert again is not None
    assert all(np.array_equal(array, again[1][name]) for name, array in arrays.items())


def test_no_probe_without_held_out_rows() -> None:
    assert ToroidalDot({**SMALL, "holdout_modulus": 0}, seed=0).probe() is None
    assert ToroidalDot({**SMALL, "probe_states": 0}, seed=0).probe() is None


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"wat": 1}, "unknown field `wat`"), ({"size": "x"}, "Expected `int`"), ({"size": 4, "radius": 2}, "does not fit"),
        ({"radius": 0}, "does not fit"), ({"holdout_modulus": 1}, "use 0 to hold out no rows"), ({"holdout_modulus": -3}, "use 0"),
        ({"initial_x": 224}, "give 0 to 223"), ({"initial_y": -1}, "give 0 to 223"), ({"probe_states": -1}, "0 or more"),
        ({"action_delay_s": -0.1}, "0 or more"),
    ],
)  # fmt: skip
def test_wrong_options_are_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RobotError, match="driver 'toroidal_dot': ") as caught:
        make_driver("toroidal_dot", options, 0)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("toroidal_dt", "did you mean 'toroidal_dot'?"), ("zzz", "or your own as module:Class"), ("no_module:X", "cannot be loaded"),
        ("json:NoClass", "cannot be loaded"),
    ],
)  # fmt: skip
def test_wrong_drivers_are_one_line(name: str, says: str) -> None:
    with pytest.raises(RobotError) as caught:
        make_driver(name, {}, 0)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bad_seed_is_one_line() -> None:
    with pytest.raises(RobotError, match="Seed must be between"):
        make_driver("toroidal_dot", {}, -1)


# -- the gate, the pace, the place ----------------------------------------------------------------

DISCRETE = ActionSpaceInfo(names=["action"], choices=[{"action": 0.0}, {"action": 1.0}])
BOX = ActionSpaceInfo(names=["a", "b"], low=[-1.0, 0.0], high=[1.0, 2.0])


def command(deadline_mono_ns: int = 100, **action: float) -> Command:
    return Command(action=action or {"action": 1.0}, by="test", deadline_mono_ns=deadline_mono_ns)


def make_gate(**limits: Limit) -> CommandGate:
    return CommandGate(DISCRETE, Limits(limits, DISCRETE, {"action": 0.0}))


def test_the_gate_takes_the_command_of_this_step_once() -> None:
    gate = make_gate()
    assert gate.offer(command(), (2, 3), (2, 3), 50) == ""
    assert gate.holds(100)
    assert gate.take(60) == command()
    assert gate.take(60) is None
    assert gate.refused == {}


@pytest.mark.parametrize(
    ("reason", "place", "now_ns", "action"),
    [
        ("other_step", (2, 4), 50, {"action": 1.0}), ("other_step", (None, None), 50, {"action": 1.0}),
        ("too_late", (2, 3), 101, {"action": 1.0}), ("not_an_action", (2, 3), 50, {"action": 0.5}),
        ("not_an_action", (2, 3), 50, {"wat": 1.0}), ("not_an_action", (2, 3), 50, {"action": float("nan")}),
    ],
)  # fmt: skip
def test_the_gate_refuses_and_counts(reason: str, place: Any, now_ns: int, action: dict[str, float]) -> None:
    gate = make_gate()
    assert gate.offer(command(**action), place, (2, 3), now_ns).startswith(reason)
    assert gate.take(now_ns) is None
    assert gate.refused == {reason: 1}


def test_a_command_that_grew_too_old_is_refused_and_a_new_step_forgets() -> None:
    gate = make_gate()
    gate.offer(command(), (0, 0), (0, 0), 50)
    assert not gate.holds(101)
    assert gate.take(101) is None
    assert gate.refused == {"too_late": 1}
    gate.offer(command(), (0, 0), (0, 0), 50)
    gate.clear()
    assert gate.take(50) is None


@pytest.mark.parametrize(
    ("action", "right"),
    [
        ({"a": 0, "b": 2.0}, True), ({"a": 1.01, "b": 0.0}, False), ({"a": float("inf"), "b": 0.0}, False), ({"a": 0.0}, False),
    ],
)  # fmt: skip
def test_actions_of_a_continuous_space(action: dict[str, float], right: bool) -> None:
    assert (check_action(action, BOX) == "") is right


def test_the_pace_does_not_drift_and_does_not_catch_up() -> None:
    rate = Rate(10.0, due_s=100.0)
    starts = []
    for now_s in (100.0, 100.13, 100.2, 100.75, 100.85):
        assert rate.wait_s(now_s) == 0.0
        rate.start(now_s)
        starts.append(round(rate.due_s, 6))
    assert starts == [100.1, 100.2, 100.3, 100.85, 100.95]
    assert rate.wait_s(100.9) == pytest.approx(0.05)
    assert Rate(0.0).wait_s(5.0) == 0.0


def test_progress_counts_episodes_steps_and_totals() -> None:
    progress = Progress()
    progress.begin()
    progress.advance()
    progress.begin()
    progress.advance()
    assert (progress.episode, progress.step, progress.steps, progress.open) == (1, 1, 2, True)


@pytest.mark.parametrize(
    "seen",
    [
        Observation(images={}), Observation(images={"a": np.zeros((2, 2), np.uint8)}), Observation(images={"a": np.zeros((2, 2, 3))}),
        Observation(images={"a": np.zeros((2, 2, 4), np.uint8)}), Observation(images={"a": [[0]]}),  # type: ignore[dict-item]
        Observation(images={"a": np.zeros((2, 2, 3), np.uint8)}, state=np.zeros(2)),
        Observation(images={"a": np.zeros((2, 2, 3), np.uint8)}, depth={"a": np.zeros((2, 2), np.uint8)}),
    ],
)  # fmt: skip
def test_observations_that_are_not_fit(seen: Observation) -> None:
    assert check_observation(seen)


def test_config_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="a paced robot needs a rate"):
        RobotConfig(timing="paced", rate_hz=0)
    with pytest.raises(ValueError, match="counts"):
        RobotConfig(steps=-1)
    assert bytes_per_step({"options": {"size": 64}}) == 64 * 64 * 3
    assert bytes_per_step({"driver": "replay"}) is None
