"""A robot of your own. This one is simulated, and works as it stands: edit it until it is yours.

toddle robot check my_robot:MyRobot
toddle robot try my_robot:MyRobot
toddle launch launch/run.yaml --set driver=my_robot:MyRobot

A cart on a rail of 2 m: one action, `speed`, for `action_s` seconds; one camera; its place as state.
"""

import threading
import time
from typing import Any

import msgspec
import numpy as np

from nodes.robot.interface import Observation, RobotError
from protocol.messages import Action, ActionSpaceInfo


class MyRobotOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a launch file may say under `options`, or `--set` in `toddle robot`. A slip is refused in one line."""

    action_s: float = 0.1
    size: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.action_s <= 10 or self.size < 16:
            raise ValueError("action_s is 0 to 10 seconds, size at least 16 pixels")


class MyRobot:
    """See nodes/robot/interface.py for what each method owes."""

    def __init__(self, options: dict[str, Any], seed: int) -> None:
        """Connect here; do not move. Raise RobotError, one line, when the robot is not there."""
        self.options = msgspec.convert(options, MyRobotOptions)
        self.action_space = ActionSpaceInfo(names=["speed"], low=[-1.0], high=[1.0])  # or choices=[{"speed": 0.0}, ...]
        self.safe_action: Action = {"speed": 0.0}
        self.state_names = ["place"]
        self._random = np.random.default_rng(seed)
        self._place = 1.0
        self._stopped = threading.Event()
        self._closed = False

    def observe(self) -> Observation:
        """What the camera shows now: RGB, uint8, in a new array each time."""
        if self._closed:
            raise RobotError("it is closed; make another one")
        size = self.options.size
        image = np.full((size, size, 3), (40, 44, 52), np.uint8)
        column = int(self._place / 2 * (size - 9))
        image[size // 2 : size // 2 + 8, column : column + 8] = (230, 80, 40)
        return Observation(images={"side": image}, state=np.array([self._place], np.float32))

    def execute(self, action: Action) -> bool:
        """Do it, and come back when it is done, or stopped; whether it was done."""
        self._stopped.clear()
        begin_s = time.monotonic()
        self._stopped.wait(self.options.action_s)  # not time.sleep: stop ends it
        driven_s = time.monotonic() - begin_s
        self._place = min(max(self._place + action["speed"] * driven_s, 0.0), 2.0)
        return not self._stopped.is_set()

    def reset(self) -> None:
        """Bring the robot to where an episode begins."""
        self._place = float(self._random.uniform(0.5, 1.5))

    def stop(self) -> None:
        """Motors off, now. Called from another thread, at any moment, more than once: wait for nothing."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of the hardware; twice does no harm."""
        self._closed = True
