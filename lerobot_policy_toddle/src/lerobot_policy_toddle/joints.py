"""The joints of an SO-101 in the order of its state, and how far each may go, in lerobot's normalised units."""

JOINTS = ("shoulder_pan.pos", "shoulder_lift.pos", "elbow_flex.pos", "wrist_flex.pos", "wrist_roll.pos", "gripper.pos")


def check(joint: str) -> None:
    """ValueError when there is no such joint."""
    if joint not in JOINTS:
        raise ValueError(f"there is no joint {joint!r}: give one of {', '.join(JOINTS)}")


def within(joint: str, position: float) -> float:
    """The nearest position that the joint has: -100 to 100, of the gripper 0 to 100."""
    return min(max(position, 0.0 if joint == "gripper.pos" else -100.0), 100.0)
