"""How long an action of an arm takes, measured on the arm.

    timing = measure_timing(arm, "shoulder_pan", 10.0, tell=print)      # arm: nodes.robot.arm.driver.LeRobotArm
    save_timing(timing, "pan.json")                                     # and `timing: pan.json` among the options of its driver

Four moves: up by delta, back, down by delta, back. An action is given 1.2 times what the slowest took to come to rest.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from nodes.robot.arm.driver import LeRobotArm
from nodes.robot.arm.moves import full_name, short_name
from nodes.robot.arm.options import Timing
from nodes.robot.interface import RobotError

LIMIT_S = 5.0
MARGIN = 1.2

Tell = Callable[[str], None]
log = logging.getLogger(__name__)


def measure_timing(arm: LeRobotArm, joint: str, delta: float, tell: Tell = log.info, limit_s: float = LIMIT_S) -> Timing:
    """Move `joint` four times; `tell` gets a line about each move.

    Raises RobotError, one line, when there is no time to be had: the joint never moved, never came to rest within
    `limit_s`, has no room for `delta`, the arm was stopped, or is lost. ValueError when there is no such joint. Whatever
    happens, Ctrl-C too, the arm walks back to where it was, unless somebody stopped it.
    """
    name = full_name(joint, arm.ranges)
    start = arm.positions()
    origin, room = start[name], arm.ranges[name]
    if not (room.min <= origin - delta and origin + delta <= room.max):
        raise RobotError(
            f"{short_name(name)} stands at {origin:.1f}: no room for {delta:g} up and down within [{room.min:g}, {room.max:g}]; "
            "move it away from its end by hand, or ask for a smaller delta"
        )
    try:
        settle_s = [_move(arm, name, goal, tell, limit_s) for goal in (origin + delta, origin, origin - delta, origin)]
    except BaseException:
        with suppress(RobotError):  # the first trouble is what is told
            arm.walk(start)
        raise
    arm.walk(start)
    return Timing(joint=short_name(name), delta=delta, settle_s=settle_s, action_duration_s=duration_s(settle_s))


def duration_s(settle_s: Sequence[float]) -> float:
    """What an action is given, from what its moves took."""
    return round(MARGIN * max(settle_s), 2)


def save_timing(timing: Timing, path: str | Path) -> None:
    """For `timing` of a driver's options; read it with `arm_options.read_timing`. Raises OSError."""
    Path(path).write_bytes(msgspec.json.format(msgspec.json.encode(timing)) + b"\n")


def _move(arm: LeRobotArm, name: str, goal: float, tell: Tell, limit_s: float) -> float:
    """Seconds until the joint has come to rest."""
    start = arm.positions()[name]
    stopped = not arm.move({name: goal})
    settling = arm.settle(name, start, limit_s)
    if stopped or arm.stopped:
        raise RobotError("the arm was stopped: its timing is not known")
    if settling.settled_s is None:
        raise RobotError(
            f"{short_name(name)}, sent from {start:.1f} to {goal:.1f}, {settling.trouble} within {limit_s:g} s: is it free to move?"
        )
    tell(f"{short_name(name)} from {start:.1f} to {goal:.1f}: {settling.settled_s:.2f} s, it stands at {settling.last:.1f}")
    return settling.settled_s
