"""Where an arm's joints are told to go. Pure.

Positions and goals are by LeRobot's names, such as `shoulder_pan.pos`; a discrete action is by joint, such as
`{"shoulder_pan": 10.0}`: by how much it moves.
"""

import difflib
from collections.abc import Collection, Mapping

from nodes.robot.arm.options import Range
from protocol.messages import Action, ActionSpaceInfo

HELD_WITHIN = 3.0
"""A joint so near to its goal holds it: the load pulls it off by a little, and to hold what is measured would sink further each time."""

Pose = dict[str, float]


def full_name(joint: str, names: Collection[str]) -> str:
    """LeRobot's name of a joint that may lack its ending. Raises ValueError, with a near one, when there is none."""
    for name in (joint, f"{joint}.pos"):
        if name in names:
            return name
    near = difflib.get_close_matches(joint, [name.removesuffix(".pos") for name in names], 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(name.removesuffix('.pos') for name in names)}"
    raise ValueError(f"the arm has no joint {joint!r}; {hint}")


def short_name(name: str) -> str:
    return name.removesuffix(".pos")


def narrowed(ranges: Mapping[str, Range], limits: Mapping[str, Range]) -> dict[str, Range]:
    """The ranges, within the limits of a person. Raises ValueError for a joint that is not there, or left nothing."""
    out = dict(ranges)
    for joint, limit in limits.items():
        name = full_name(joint, ranges)
        low, high = max(limit.min, ranges[name].min), min(limit.max, ranges[name].max)
        if not low < high:
            raise ValueError(f"limits: nothing is left of {joint}: [{low:g}, {high:g}]")
        out[name] = Range(min=low, max=high)
    return out


def clamped(goals: Mapping[str, float], ranges: Mapping[str, Range]) -> Pose:
    return {name: min(max(goal, ranges[name].min), ranges[name].max) for name, goal in goals.items()}


def choices(joints: Collection[str], delta: float) -> list[Action]:
    """Stay, then up and down for each joint."""
    stay = dict.fromkeys(joints, 0.0)
    return [stay, *({**stay, joint: by} for joint in joints for by in (delta, -delta))]


def space_of(names: Collection[str], ranges: Mapping[str, Range], delta: float | None) -> ActionSpaceInfo:
    """Choices by joint with a `delta`, goals within the ranges without one."""
    if delta is not None:
        joints = [short_name(name) for name in names]
        return ActionSpaceInfo(names=joints, choices=choices(joints, delta))
    return ActionSpaceInfo(names=list(names), low=[ranges[name].min for name in names], high=[ranges[name].max for name in names])


def held(measured: Mapping[str, float], goals: Mapping[str, float]) -> Pose:
    """Goals that keep the arm where it is."""
    return {name: goals[name] if abs(goals[name] - at) <= HELD_WITHIN else at for name, at in measured.items()}


def set_points(action: Action, measured: Pose, goals: Pose, ranges: Mapping[str, Range]) -> Pose:
    """Goals of the joints that a discrete action names, from where they are: beyond the ranges nothing goes.

    A joint that stands outside its range stays there, or comes back.
    """
    moved = {f"{joint}.pos": by for joint, by in action.items()}
    still = held({name: measured[name] for name in moved}, goals)
    far = clamped({name: measured[name] + by for name, by in moved.items()}, ranges)
    return {name: far[name] if by and (far[name] - measured[name]) * by >= 0 else still[name] for name, by in moved.items()}


def between(start: Mapping[str, float], end: Mapping[str, float], parts: int) -> list[Pose]:
    """`parts` + 1 poses from start to end, straight, both included."""
    return [{name: start[name] + (goal - start[name]) * i / parts for name, goal in end.items()} for i in range(parts + 1)]
