"""Arms for tests: one of wood, as a plugin of LeRobot."""

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from emulators.so101 import SO101Emulator
from nodes.robot.arm.driver import SO101, LeRobotArm
from nodes.robot.interface import RobotError

from ...nodes.conftest import message, node

__all__ = ["message", "node"]
EYE = {"eye": {"type": "painted", "width": 8, "height": 8, "fps": 30}}
LIMITS = {"base": {"min": -40, "max": 40}, "tip": {"min": -90, "max": 90}}


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The wooden arm, as pip would install it."""
    site = tmp_path_factory.mktemp("site")
    shutil.copy(Path(__file__).with_name("lerobot_robot_wooden.py"), site)
    (site / "lerobot_robot_wooden-1.dist-info").mkdir()
    (site / "lerobot_robot_wooden-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: lerobot_robot_wooden\nVersion: 1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        yield
        sys.modules.pop("lerobot_robot_wooden", None)


@pytest.fixture
def wooden(plugin: None, tmp_path: Path) -> Iterator[Callable[..., LeRobotArm]]:
    """A wooden arm with options; let go of at the end."""
    made: list[LeRobotArm] = []

    def make(seed: int = 0, **options: Any) -> LeRobotArm:
        given = {"type": "wooden", "calibration_dir": str(tmp_path), "limits": LIMITS, "joint": "base", "action_duration_s": 0.01}
        made.append(LeRobotArm({**given, **options}, seed))
        return made[-1]

    yield make
    for arm in made:
        with suppress(RobotError):
            arm.close()


@pytest.fixture
def emulator() -> Iterator[SO101Emulator]:
    with SO101Emulator() as arm:
        yield arm


@pytest.fixture
def options(plugin: None, emulator: SO101Emulator) -> dict[str, Any]:
    """Of a driver of the emulated arm, with a camera that is there at once."""
    return {**emulator.options(), "cameras": EYE}


@pytest.fixture
def so101(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SO101]]:
    """The emulated arm with further options; let go of at the end."""
    monkeypatch.setattr("nodes.robot.arm.driver.WALK_PART_S", 0.002)
    made: list[SO101] = []

    def make(seed: int = 0, **more: Any) -> SO101:
        made.append(SO101({**options, **more}, seed))
        return made[-1]

    yield make
    for arm in made:
        with suppress(RobotError):
            arm.close()


@pytest.fixture
def still(emulator: SO101Emulator, wait: Callable[..., Any]) -> Callable[[], dict[str, int]]:
    """Where the emulated arm comes to stand: it is seen there several times in a row, some time apart."""

    def stands() -> dict[str, int]:
        seen: list[dict[str, int]] = []

        def steady() -> bool:
            seen.append(emulator.positions())
            return len(seen) > 20 and all(one == seen[-1] for one in seen[-20:])

        wait(steady, "the arm to stand still")
        return seen[-1]

    return stands


@pytest.fixture
def wait() -> Callable[..., Any]:
    """What a condition returns once it is true; fails after a long while."""

    def until(condition: Callable[[], Any], what: str, limit_s: float = 30.0) -> Any:
        deadline_s = time.monotonic() + limit_s
        pause = threading.Event()
        while not (found := condition()):
            assert time.monotonic() < deadline_s, f"waited {limit_s:g} s for {what}"
            pause.wait(0.005)
        return found

    return until
