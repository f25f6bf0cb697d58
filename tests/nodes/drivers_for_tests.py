"""Drivers of users, good and bad; named as module:Class."""

import numpy as np

from nodes.robot.interface import Observation, RobotError
from protocol.messages import ActionSpaceInfo


class Arm:
    """Continuous, with a state; fails the second action, and is lost at the tenth observation."""

    def __init__(self, options: dict[str, object], seed: int) -> None:
        self.action_space = ActionSpaceInfo(names=["pan"], low=[-1.0], high=[1.0])
        self.safe_action = {"pan": 0.0}
        self.state_names = ["pan"]
        self.options = options
        self.seen = self.done = 0

    def observe(self) -> Observation:
        self.seen += 1
        if self.seen == self.options.get("lost_at"):
            raise RobotError("no answer from the arm; is it switched on?")
        return Observation(images={"wrist": np.zeros((4, 6, 3), np.uint8)}, state=np.zeros(1, np.float32))

    def execute(self, action: dict[str, float]) -> bool:
        self.done += 1
        return self.done != 2

    def reset(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass


class ForgetsToReturn(Arm):
    def execute(self, action: dict[str, float]) -> None:  # type: ignore[override]
        pass


class GreyImages(Arm):
    def observe(self) -> Observation:
        return Observation(images={"wrist": np.zeros((4, 6), np.uint8)})


class UnsafeSafeAction(Arm):
    def __init__(self, options: dict[str, object], seed: int) -> None:
        super().__init__(options, seed)
        self.safe_action = {"pan": 9.0}
