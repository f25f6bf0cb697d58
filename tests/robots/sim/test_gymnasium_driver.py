"""`gymnasium:ENV_ID`: spaces of all kinds, episodes that end by themselves, and the truth of actions where a world can be put back."""

import logging
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from nodes.robot.contract import checks as contract
from nodes.robot.contract.trial import Wanted
from nodes.robot.drivers import make_driver, unknown
from nodes.robot.gymnasium.driver import Gymnasium
from nodes.robot.gymnasium.snapshots import Snapshots
from nodes.robot.headless import load_mujoco
from nodes.robot.interface import EndsEpisodes, KnowsStep, KnowsTruth, RobotError

HERE = str(Path(__file__).parent)
GRID, PUSHT = "gymnasium:worlds_for_tests/Grid-v0", "gymnasium:gym_pusht/PushT-v0"


@pytest.fixture(autouse=True)
def _found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def grid(seed: int = 0, **options: Any) -> Gymnasium:
    made = make_driver(GRID, options, seed)
    assert isinstance(made, Gymnasium)
    return made


def test_it_keeps_the_contract() -> None:
    for driver, options in ((GRID, {}), (PUSHT, {"probe_states": 0})):
        findings = list(contract.Contract(Wanted(driver=driver, options=options, limit_s=20.0)).run(lambda name: None))
        assert [one for one in findings if one.outcome != "ok"] == [], driver


def test_actions_of_every_kind_reach_the_environment_as_it_takes_them() -> None:
    for kind, count in (("discrete", 3), ("multi", 6), ("bits", 8)):
        driver = grid(kwargs={"kind": kind})
        assert len(driver.action_space.choices) == count and driver.safe_action == driver.action_space.choices[0]
        for choice in driver.action_space.choices:
            assert driver.execute(choice)
        env = driver._world.env.unwrapped
        assert all(env.action_space.contains(action) for action in env.taken), kind  # type: ignore[attr-defined]
        assert len({str(action) for action in env.taken}) == count  # type: ignore[attr-defined]
    driver = grid(kwargs={"kind": "box"}, action_names=["along", "across"])
    assert (driver.action_space.names, driver.action_space.low, driver.safe_action["along"]) == (["along", "across"], [-1, -1], 0.0)
    driver.execute({"along": 1.0, "across": -1.0})
    taken = driver._world.env.unwrapped.taken[0]  # type: ignore[attr-defined]
    assert taken.shape == (1, 2) and taken.dtype == np.float32 and taken.tolist() == [[1.0, -1.0]]
    bounded = grid(kwargs={"kind": "endless"}, action_low=-2, action_high=2).action_space
    assert (bounded.low, bounded.high) == ([-2, -2], [2, 2])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"kwargs": {"kind": "endless"}}, "no bounds: give action_low"),
        ({"kwargs": {"kind": "endless"}, "action_low": 1, "action_high": 1}, "each low must be below its high"),
        ({"kwargs": {"kind": "text"}}, "a driver takes Discrete, Box"),
        ({"kwargs": {"kind": "many"}}, "more than 256 choices"),
        ({"kwargs": {"kind": "box"}, "action_names": ["one"]}, "1 names for 2 numbers"),
        ({"kwargs": {"colour": 1}}, "colour"),
        ({"safe_action": {"action": 5.0}}, "safe_action"),
        ({"size": [0, 9]}, "size"),
        ({"no_such_option": 1}, "no_such_option"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RobotError) as caught:
        grid(**options)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_id_that_is_none_is_said_in_one_line() -> None:
    for name in ("gymnasium:NoSuchWorld-v0", "gymnasium:no_such_package/World-v0", "gymnasium:", "gymnasium:a b"):
        with pytest.raises(RobotError, match="gymnasium cannot make") as caught:
            make_driver(name, {}, 0)
        assert "\n" not in str(caught.value)
    assert "gymnasium:ENV_ID" in unknown("gymnasiun")


def test_an_episode_ends_when_the_environment_says_so() -> None:
    driver = grid()
    assert isinstance(driver, EndsEpisodes) and isinstance(driver, KnowsStep) and isinstance(driver, KnowsTruth)
    steps = 0
    while not driver.ended():
        assert driver.execute({"action": 1.0})
        steps += 1
    assert 4 <= steps <= 7 and driver.ended() == "terminated" and driver.step_values() == {"reward": 7.0}
    driver.reset()
    assert driver.ended() == ""
    for _ in range(3 * steps):  # nobody resets it: it goes on in a new episode
        driver.execute({"action": 1.0})
    jumps = grid(repeat=3)
    jumps.execute({"action": 1.0})
    assert jumps.ended() or jumps.observe().state[0] >= 3  # type: ignore[index]


def test_a_probe_says_what_execute_would_give() -> None:
    driver = grid(probe_states=6)
    description, arrays = driver.probe() or ("", {})
    assert "never shown live" in description
    assert arrays["history/scene"].shape == (6, 3, 8, 8, 3)
    newest, after = arrays["history/scene"][:, -1], arrays["next/scene"]
    assert arrays["candidates"].tolist() == [[-1.0], [0.0], [1.0]]
    for state, outcomes in zip(newest, after, strict=True):
        at = int(state[0, :, 0].argmax())
        assert [int(picture[0, :, 0].argmax()) for picture in outcomes] == [max(at - 1, 0), at, min(at + 1, 7)]
    before = driver.observe()
    assert driver.probe()[1].keys() == arrays.keys()  # type: ignore[index]
    assert np.array_equal(driver.observe().images["scene"], before.images["scene"]), "the probe moves nothing that is shown"


def test_a_world_that_cannot_be_put_back_has_no_probe(caplog: pytest.LogCaptureFixture) -> None:
    driver = grid(kwargs={"forgets": True})
    with caplog.at_level(logging.INFO):
        assert driver.probe() is None
    assert [record.getMessage() for record in caplog.records if "no probe" in record.getMessage()] != []
    assert "put back" in caplog.text


def test_pusht_is_put_back_exactly_while_it_pushes() -> None:
    driver = make_driver(PUSHT, {}, 3)
    assert isinstance(driver, Gymnasium)
    world = driver._world
    assert driver.safe_action == {"x": float(world.state()[0]), "y": float(world.state()[1])}  # type: ignore[index]
    moved = 0
    for _ in range(25):
        aim = np.asarray(world.state()[2:4], np.float32)  # type: ignore[index]
        world.act(aim)
        saved, before = world.save(), world.state()
        ways = []
        for _ in range(3):
            world.restore(saved)
            world.act(aim)
            world.act(aim)
            ways.append((world.look()["scene"], world.state()))
        assert all(np.array_equal(ways[0][0], other[0]) and np.array_equal(ways[0][1], other[1]) for other in ways[1:])  # type: ignore[arg-type]
        moved += bool(np.abs(ways[0][1][2:4] - before[2:4]).max() > 1)  # type: ignore[index]
        world.restore(saved)
    assert moved > 3, "it never pushed: the test would see nothing"
    column, row = world.marker() or (0.0, 0.0)
    assert np.abs(world.look()["scene"][round(row), round(column)].astype(int) - (78, 126, 255)).max() < 30


def test_the_same_seed_gives_the_same_world() -> None:
    def shown(seed: int) -> list[Any]:
        driver = make_driver(PUSHT, {"probe_states": 0, "size": [48, 48]}, seed)
        seen = []
        for x in (100.0, 400.0, 250.0):
            driver.execute({"x": x, "y": 300.0})
            seen.append(driver.observe().images["scene"])
        driver.reset()
        return [*seen, driver.observe().images["scene"]]

    first, again, other = shown(5), shown(5), shown(6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[-1], other[-1]) and first[0].shape == (48, 48, 3)


def test_mujoco_data_is_put_back_by_mujoco() -> None:
    """Without pictures: those of gymnasium's own environments need a package more."""
    mujoco = load_mujoco()

    class Pendulum(gymnasium.Env[Any, Any]):
        def __init__(self) -> None:
            text = "<mujoco><worldbody><body><joint type='hinge' axis='0 1 0'/><geom size='.1' pos='.3 0 0'/></body></worldbody></mujoco>"
            self.model = mujoco.MjModel.from_xml_string(text)
            self.data = mujoco.MjData(self.model)
            self.count = 0

        def go(self) -> tuple[float, ...]:
            self.count += 1
            mujoco.mj_step(self.model, self.data, 20)
            return self.count, *self.data.qpos.tolist(), *self.data.geom_xpos.ravel().tolist()

    env = Pendulum()
    snapshots = Snapshots(env)
    env.go()
    saved, shown = snapshots.save(), env.data.geom_xpos.copy()
    first = [env.go(), env.go()]
    snapshots.restore(saved)
    assert np.array_equal(env.data.geom_xpos, shown), "what would be drawn is as it was too"
    assert [env.go(), env.go()] == first
