"""From a driver's name to a driver."""

import difflib
import importlib
import os
import sys
from typing import Any

import msgspec

from nodes.robot.config import GYMNASIUM, REPLAY
from nodes.robot.interface import Robot, RobotError

BUILT_IN = {
    "toroidal_dot": "nodes.robot.dot:ToroidalDot",
    "jetbot": "nodes.robot.jetbot.driver:JetBot",
    "so101": "nodes.robot.arm.driver:SO101",
    "lerobot": "nodes.robot.arm.driver:LeRobotArm",
    "mujoco_arm": "nodes.robot.mujoco_arm.driver:MujocoArm",
}
ENVIRONMENT = "nodes.robot.gymnasium.driver:Gymnasium"
EXTRAS = {"jetbot": "jetbot", "mujoco_arm": "sim", ENVIRONMENT: "sim"}
"""What `pip install -e '.[...]'` must bring for a driver."""


def unknown(name: str) -> str:
    """Why there can be no driver called `name`; empty when there may be one."""
    if name in BUILT_IN or ":" in name:
        return ""
    known = [*BUILT_IN, REPLAY, f"{GYMNASIUM}ENV_ID"]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}, or your own as module:Class"
    return f"unknown driver {name!r}; {hint}"


def make_driver(name: str, options: dict[str, Any], seed: int) -> Robot:
    """The driver called `name`; RobotError, one line, when there is none or it refuses its options."""
    if problem := unknown(name):
        raise RobotError(problem)
    target = BUILT_IN.get(name, name)
    if name.startswith(GYMNASIUM):
        target, options = ENVIRONMENT, {**options, "env": name.removeprefix(GYMNASIUM)}
    module_name, _, class_name = target.partition(":")
    if target == name:  # a user's own may lie where toddle was called; nothing of ours is shadowed
        sys.path.append(os.getcwd())
    try:
        driver_class = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        extra = EXTRAS.get(name) or EXTRAS.get(target)
        hint = f"; python -m pip install -c constraints.txt -e '.[{extra}]'" if extra else ""
        raise RobotError(f"driver {name!r} cannot be loaded: {error}{hint}") from None
    try:
        driver: Robot = driver_class(options, seed)
    except (msgspec.ValidationError, ValueError) as error:
        raise RobotError(f"driver {name!r}: {error}; see its options in docs/launch-files.md") from None
    return driver
