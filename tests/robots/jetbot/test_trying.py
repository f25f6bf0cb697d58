"""`toddle robot try`: each action once, with pictures and numbers; whatever happens, the robot is stopped."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from nodes.robot import drivers
from nodes.robot.interface import Observation, RobotError
from protocol.messages import Action, ActionSpaceInfo
from toddle.cli import cli
from toddle.robot.trying import difference

from .conftest import Server


class Slider:
    """A robot with numbers for actions, and two cameras of different sizes; it says what it was told."""

    told: list[Any] = []  # noqa: RUF012 (of all of them)

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        self.fails = options.get("fails", False)
        self.action_space = ActionSpaceInfo(names=["x", "y"], low=[-1.0, 0.0], high=[1.0, 10.0])
        self.safe_action: Action = {"x": 0.0, "y": 0.5}
        self.state_names: list[str] = []
        self.x = 0.0

    def observe(self) -> Observation:
        level = int(100 + 100 * self.x)
        return Observation(images={"a": np.full((20, 30, 3), level, np.uint8), "b": np.zeros((10, 50, 3), np.uint8)})

    def execute(self, action: Action) -> bool:
        self.told.append(action)
        if self.fails:
            raise RobotError("the slider is stuck; oil it")
        self.x = action["x"]
        return True

    def stop(self) -> None:
        self.told.append("stop")

    def close(self) -> None:
        self.told.append("close")


@pytest.fixture
def slider(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.setitem(drivers.BUILT_IN, "slider", "slider_for_tests:Slider")
    monkeypatch.setitem(sys.modules, "slider_for_tests", sys.modules[__name__])
    monkeypatch.setattr(Slider, "told", [])
    return Slider.told


def run(*words: str, answer: str = "") -> Result:
    return CliRunner().invoke(cli, ["robot", "try", *words], input=answer)


def test_each_number_is_moved_a_little_both_ways(slider: list[Any], tmp_path: Path) -> None:
    done = run("slider", "--yes", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert slider[-2:] == ["stop", "close"]
    assert slider[:-2] == [
        {"x": 0.0, "y": 0.5}, {"x": -0.2, "y": 0.5}, {"x": 0.2, "y": 0.5}, {"x": 0.0, "y": 0.0}, {"x": 0.0, "y": 1.5}
    ]  # fmt: skip
    pictures = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert pictures == sorted([*(f"{n:02}-{camera}.png" for n in range(5) for camera in "ab"), "sheet.png"])
    row = cv2.imread(str(tmp_path / "out" / "01-a.png"))
    assert row.shape == (20, 90, 3) and [row[0, x, 0] for x in (0, 30, 60)] == [100, 80, 20], "before, after, difference"
    assert "20.00" in done.output and "100.0%" in done.output


def test_it_asks_first_and_moves_nothing_when_told_not_to(slider: list[Any]) -> None:
    done = run("slider", answer="n\n")
    assert done.exit_code == 1 and slider == ["stop", "close"]
    assert "x=-0.2, y=0.5" in done.output


def test_a_robot_that_fails_is_stopped_and_says_why_in_one_line(slider: list[Any]) -> None:
    done = run("slider", "--yes", "--set", "fails=true")
    assert done.exit_code == 2 and slider[-2:] == ["stop", "close"]
    assert done.output.strip().splitlines()[-1].endswith("the slider is stuck; oil it")


@pytest.mark.parametrize(
    ("words", "what"), [(["sllider"], "unknown driver"), (["toroidal_dot", "--set", "size"], "NAME=VALUE"), (["jetbot"], "host")]
)
def test_what_cannot_be_tried_is_told_in_one_line(words: list[str], what: str) -> None:
    done = run(*words, "--yes")
    assert done.exit_code == 2 and what in done.output and "Traceback" not in done.output


def test_a_jetbot_is_tried_over_the_network(server: Server, tmp_path: Path) -> None:
    sets = ["--set", "host=127.0.0.1", "--set", f"port={server.port}", "--set", "call_timeout_s=5"]
    done = run("jetbot", *sets, "--out", str(tmp_path), "--yes")
    assert done.exit_code == 0, done.output
    assert cv2.imread(str(tmp_path / "01-front.png")).shape == (64, 3 * 64, 3)
    server.wait_stopped()


def test_the_difference_of_a_real_pair_is_what_was_reported_for_it(recordings: Path) -> None:
    """A real JetBot's action; its pictures were drawn anew for a notebook, so the figure is near, not the same."""
    before, after = (cv2.imread(str(recordings / "jetbot_pairs" / f"pair0_{when}.png")) for when in ("before", "after"))
    mean, changed = difference(before, after)
    assert mean == pytest.approx(12.79, rel=0.15)
    assert 0.1 < changed < 1
