"""What runs on the JetBot, without a network: who may drive, when the motors stop, what the simulation shows."""

import ast
import math
import sys
from typing import Any

import numpy as np
import pytest

from onboard import jetbot_server

from .conftest import SERVER

OUTSIDE = {"rpyc", "cv2", "numpy", "jetbot"}
"""What the JetBot has, or gets by pip; the rest is the standard library's."""


class Motors:
    simulated = True

    def __init__(self) -> None:
        self.told: list[tuple[float, float]] = []

    def set(self, left: float, right: float) -> None:
        self.told.append((left, right))


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wheels(clock: Clock) -> Any:
    return jetbot_server.Wheels(Motors(), 0.5, clock)


def speeds(wheels: Any) -> tuple[float, float]:
    return wheels.status()[:2]


def test_it_is_one_file_for_an_old_python_that_knows_nothing_of_ours() -> None:
    tree = ast.parse(SERVER.read_text(), feature_version=(3, 6))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level and node.module != "__future__"
            imported.add(str(node.module).partition(".")[0])
    assert imported - OUTSIDE <= set(sys.stdlib_module_names) - {"dataclasses", "contextvars", "zoneinfo", "tomllib", "graphlib"}
    assert imported >= {"rpyc"}


def test_motors_stand_from_the_beginning(wheels: Any) -> None:
    assert wheels._board.told == [(0.0, 0.0)]


def test_motors_stop_when_no_call_came_for_the_watchdogs_time(wheels: Any, clock: Clock) -> None:
    wheels.drive("a", "ann", 0.2, 0.3)
    clock.now_s += 0.4
    assert wheels.look() == pytest.approx(0.1) and speeds(wheels) == (0.2, 0.3)
    wheels.heard("a")
    wheels.heard("b")  # somebody else's calls say nothing about the driver
    clock.now_s += 0.45
    assert wheels.look() == pytest.approx(0.05) and speeds(wheels) == (0.2, 0.3)
    wheels.heard("b")
    clock.now_s += 0.06
    wheels.look()
    assert speeds(wheels) == (0, 0) and wheels._board.told[-1] == (0, 0)
    assert wheels.status()[3] == "no call of its client for 0.5 s"
    assert wheels.look() == math.inf


def test_motors_stop_when_a_connection_of_the_driver_ends(wheels: Any) -> None:
    wheels.drive("a", "ann", 0.2, 0.3)
    wheels.gone("b")
    assert speeds(wheels) == (0.2, 0.3)
    wheels.gone("a")
    assert speeds(wheels) == (0, 0) and wheels.status()[3:5] == ("its client has gone", "")


def test_one_drives_at_a_time_and_anybody_may_stop(wheels: Any, clock: Clock) -> None:
    wheels.drive("a", "ann at 10.0.0.7", 0.2, 0.2)
    with pytest.raises(PermissionError, match=r"ann at 10\.0\.0\.7 drives this JetBot"):
        wheels.drive("b", "bob", 0.1, 0.1)
    assert speeds(wheels) == (0.2, 0.2)
    wheels.drive("b", "bob", 0, 0)
    assert speeds(wheels) == (0, 0)
    with pytest.raises(PermissionError):
        wheels.drive("b", "bob", 0.1, 0.1)
    clock.now_s += jetbot_server.LEASE_S + 0.1
    wheels.drive("b", "bob", 0.1, 0.1)
    assert wheels.status()[4] == "bob"


@pytest.mark.parametrize("speed", [math.nan, math.inf, -1.01, 2, 10**400, "0.5", "x" * 10**6, None, True, b"1", [0.1], 1j])
def test_no_such_speed_reaches_the_motors(wheels: Any, speed: Any) -> None:
    for pair in ((speed, 0.0), (0.0, speed)):
        with pytest.raises(ValueError, match="is no speed; give a number from -1 to 1") as raised:
            wheels.drive("a", "ann", *pair)
        assert len(str(raised.value)) < 120
    assert wheels._board.told == [(0.0, 0.0)]


def test_a_command_that_was_under_way_for_too_long_is_refused(wheels: Any, clock: Clock) -> None:
    heard_s = wheels.drive("a", "ann", 0.0, 0.0)
    clock.now_s += 0.4
    wheels.drive("a", "ann", 0.1, 0.1, heard_s)
    clock.now_s += 0.2
    for old in (heard_s, math.nan, -math.inf, clock.now_s + 1):
        with pytest.raises(ValueError, match="too late"):
            wheels.drive("a", "ann", 0.2, 0.2, old)
    assert speeds(wheels) == (0.1, 0.1)


def test_a_board_that_fails_once_does_not_end_the_watch(wheels: Any, clock: Clock) -> None:
    wheels.drive("a", "ann", 0.2, 0.2)
    told: list[int] = []

    def fail(left: float, right: float) -> None:
        told.append(1)
        if len(told) == 1:
            raise OSError("Remote I/O error")

    class Ended:
        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > 2

        def wait(self, seconds: float) -> None:
            assert 0 <= seconds <= jetbot_server.POLL_S

    wheels._board.set = fail
    clock.now_s += 1
    wheels.watch(Ended())
    assert len(told) == 2 and speeds(wheels) == (0, 0)


def test_the_simulation_shows_what_the_motors_do() -> None:
    world = jetbot_server.DrawnWorld(64, 200)
    middle = np.s_[4:60, 8:56]
    still, again = (world.read()[1] for _ in range(2))
    assert (still[middle] == again[middle]).all() and (still != again).any(), "only the mark goes on"
    world.set(0.5, -0.5)
    seen = [world.read()[1] for _ in range(10)][-1]
    assert (seen[middle] != again[middle]).mean() > 0.1
    assert (seen[:32, :2] == (0, 220, 0)).all(axis=-1).any() and not (again[:32, :2] == (0, 220, 0)).all(axis=-1).any()


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--camera", "/no/such.mp4"], "give csi, a number"), (["--camera", "test", "--key-file", "/no/key"], "key file /no/key"),
        (["--camera", "test", "--tls-cert", "/no/c", "--tls-key", "/no/k"], "/no/c: no such file"), (["--motors", "jetbot"], "no motors"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_one_line(words: list[str], what: str) -> None:
    with pytest.raises(jetbot_server.Refused, match=what) as raised:
        jetbot_server.make_server(jetbot_server.parse(["--port", "0", "--motors", "none", *words]))
    assert "\n" not in str(raised.value)
