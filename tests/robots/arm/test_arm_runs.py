"""The emulated arm in a graph of real processes: whoever is killed, the arm stands."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulators.so101 import SO101Emulator
from storage.reader import SessionReader

from ...live.conftest import Bench, bench, gone, wait_for

__all__ = ["bench"]
TORQUE = 40


def silences(session: Path) -> int:
    """How often the robot was left without commands, as the recorder has it by now."""
    with SessionReader(session) as reader:
        values = [one.body.values for one in reader.topic_messages("metrics") if one.envelope.source == "robot"]
    return int(values[-1].get("silent", 0)) if values else 0


@pytest.mark.slow
def test_an_arm_stands_when_its_predictor_is_stopped_and_lets_go_when_its_launcher_is_killed(bench: Bench) -> None:
    with SO101Emulator(cameras={"front": "drawn"}, size=(64, 64)) as arm:
        options = {**arm.options(), "action_duration_s": 0.2}
        run = bench.launch(
            "run.yaml", "arm", driver="so101", options=options, timing="paced", rate_hz=5, silence_s=0.5, viewer=False,
            selector="sequence", selector_options={"sequence": [1, 2]},
        )  # fmt: skip
        moves = moving(arm)
        wait_for(moves, "it moves")

        predictor = run.node("predictor")
        assert predictor is not None
        predictor.send_signal(signal.SIGSTOP)
        wait_for(lambda: silences(bench.folder / "sessions" / "arm") == 1, "silence")
        stands(arm)
        predictor.send_signal(signal.SIGCONT)
        wait_for(moves, "it moves again")

        robot = run.node("robot")
        assert robot is not None
        run.process.kill()
        assert run.process.wait() == -signal.SIGKILL
        wait_for(lambda: gone(robot), "the robot's node has ended")
        wait_for(lambda: [arm.registers(motor)[TORQUE] for motor in range(1, 7)] == [0] * 6, "no torque after the end")
        stands(arm)
        wait_for(lambda: gone(predictor), "nobody is left behind")


def moving(arm: SO101Emulator) -> Callable[[], bool]:
    """Whether it has moved since this was asked last."""
    seen: list[dict[str, int]] = [arm.positions()]

    def moved() -> bool:
        seen.append(arm.positions())
        return abs(seen[-1]["shoulder_pan"] - seen[-2]["shoulder_pan"]) > 2

    return moved


def stands(arm: SO101Emulator) -> None:
    """Seen at the same place many times in a row."""
    seen: list[Any] = []

    def steady() -> bool:
        seen.append(arm.positions())
        return len(seen) > 50 and all(one == seen[-1] for one in seen[-50:])

    wait_for(steady, "the arm stands")
