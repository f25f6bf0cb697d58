"""`mujoco_arm`: the same each time, the truth of every action, a region that is never shown, and drawing without a display."""

from typing import Any

import numpy as np
import pytest

from nodes.robot import headless
from nodes.robot.contract import checks as contract
from nodes.robot.contract.trial import Wanted
from nodes.robot.drivers import make_driver
from nodes.robot.interface import KnowsTruth, RobotError
from nodes.robot.mujoco_arm.driver import MujocoArm
from nodes.robot.truth import Truths


def arm(seed: int = 0, **options: Any) -> MujocoArm:
    made = make_driver("mujoco_arm", {"size": 64, "probe_states": 6, **options}, seed)
    assert isinstance(made, MujocoArm)
    return made


def test_it_keeps_the_contract() -> None:
    options = {"cameras": ["front", "wrist"], "size": 48, "holdout_octant": 2}
    findings = list(contract.Contract(Wanted(driver="mujoco_arm", options=options, limit_s=20.0)).run(lambda name: None))
    assert [one for one in findings if one.outcome != "ok"] == []


def test_the_same_seed_and_actions_give_the_same_pictures() -> None:
    def shown(seed: int) -> list[np.ndarray]:
        driver, random, seen = arm(seed), np.random.default_rng(1), []
        for _ in range(12):
            driver.execute(driver.action_space.choices[random.integers(7)])
            observation = driver.observe()
            assert observation.state is not None
            seen += [observation.images["front"], observation.state]
        driver.close()
        return seen

    first, again, other = shown(4), shown(4), shown(5)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_an_action_moves_one_joint_by_delta_as_far_as_it_goes() -> None:
    driver = arm(delta=0.25)
    for choice in driver.action_space.choices:
        driver._physics.place((driver._physics.low + driver._physics.high) / 2)
        before = driver._physics.joints
        assert driver.execute(choice)
        assert np.allclose(driver._physics.joints - before, [choice[name] for name in ("base", "shoulder", "elbow")], atol=2e-3)
    for _ in range(20):
        driver.execute({"base": 0.0, "shoulder": 0.25, "elbow": 0.0})
    assert np.allclose(driver._physics.joints[1], driver._physics.high[1], atol=1e-3)


def test_a_probe_says_what_execute_would_give() -> None:
    driver = arm(7, probe_states=4)
    assert isinstance(driver, KnowsTruth)
    before = driver.observe()
    _, arrays = driver.probe() or ("", {})
    assert np.array_equal(driver.observe().images["front"], before.images["front"]), "asking for it moves nothing"
    assert arrays["next/front"].shape == (4, 7, 64, 64, 3) and arrays["past_actions"].shape == (4, 2, 3)
    middle = (driver._physics.low + driver._physics.high) / 2
    for place in np.random.default_rng(0).uniform(-0.4, 0.4, (5, 3)):
        driver._physics.place(middle + place)
        for choice in driver.action_space.choices[1:4]:
            driver.execute(choice)

        truths = Truths(driver.candidates)
        truths.add(driver, [driver.look()] * 3, [driver.candidates[0]] * 2)
        told = truths.arrays((255, 0, 0))
        saved = driver.save()
        for number, choice in enumerate(driver.action_space.choices):
            driver.restore(saved)
            assert driver.execute(choice)
            assert np.array_equal(driver.observe().images["front"], told["next/front"][0, number])
        assert len({picture.tobytes() for picture in told["next/front"][0]}) == 7


def test_the_marker_is_where_it_is_said_to_be() -> None:
    driver = arm(3, size=112, cameras=["side", "wrist"])
    found = 0
    for _ in range(12):
        driver.reset()
        picture, (x, y) = driver.look()["side"].astype(int), driver.marker() or (0.0, 0.0)
        rows, columns = np.nonzero((picture[..., 0] > 230) & (picture[..., 1:].max(axis=-1) < 30))
        if len(rows) > 20:
            found += 1
            assert np.hypot(columns.mean() - x, rows.mean() - y) < 2.5
    assert found > 6
    assert arm(cameras=["wrist"]).marker() is None


def test_what_is_held_out_is_never_shown_and_makes_half_of_the_probe() -> None:
    driver = arm(1, holdout_octant=3)
    low, high = driver._physics.low[2], driver._physics.high[2]
    first, last = low + 3 * (high - low) / 8, low + 4 * (high - low) / 8
    random, refused = np.random.default_rng(0), 0
    for step in range(600):
        if step % 20 == 0:
            driver.reset()
        before = driver._physics.joints
        done = driver.execute(driver.action_space.choices[random.integers(7)])
        refused += not done
        assert done or np.array_equal(driver._physics.joints, before)
        assert not first <= driver._physics.joints[2] < last
    assert 0 < refused < 200
    text, arrays = driver.probe() or ("", {})
    assert "octant 3" in text and arrays["novel"].tolist() == [1, 1, 1, 0, 0, 0] and arrays["novel"].dtype == np.uint8


@pytest.mark.parametrize(
    ("options", "said"),
    [({"size": 5}, "size"), ({"cameras": []}, "at least one"), ({"cameras": ["top"]}, "top"), ({"holdout_octant": 8}, "holdout_octant"),
     ({"delta": 0}, "delta"), ({"radius": 5}, "radius")],
)  # fmt: skip
def test_bad_options_are_said_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RobotError) as caught:
        make_driver("mujoco_arm", options, 0)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("works", "chosen"), [((True, True), "egl"), ((False, True), "osmesa")])
def test_it_draws_by_what_there_is(works: tuple[bool, bool], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(headless, "BACKENDS", {name: lambda yes=yes: yes for name, yes in zip(("egl", "osmesa"), works, strict=True)})
    headless.choose_gl()
    assert headless.os.environ["MUJOCO_GL"] == chosen


def test_without_anything_to_draw_with_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.setattr(headless, "BACKENDS", {"egl": lambda: False, "osmesa": lambda: False})
    with pytest.raises(RobotError, match="libegl1") as caught:
        make_driver("mujoco_arm", {}, 0)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    headless.choose_gl()
    assert headless.os.environ["MUJOCO_GL"] == "osmesa", "what somebody has set stays"
