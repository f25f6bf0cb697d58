"""Drivers of users, good and bad; named as module:Class."""

import threading

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


class FillsAgain(Arm):
    def __init__(self, options: dict[str, object], seed: int) -> None:
        super().__init__(options, seed)
        self.image = np.zeros((4, 6, 3), np.uint8)

    def observe(self) -> Observation:
        self.image[:] = 7
        return Observation(images={"wrist": self.image})


class GreyImages(Arm):
    def observe(self) -> Observation:
        return Observation(images={"wrist": np.zeros((4, 6), np.uint8)})


class UnsafeSafeAction(Arm):
    def __init__(self, options: dict[str, object], seed: int) -> None:
        super().__init__(options, seed)
        self.safe_action = {"pan": 9.0}


class Wheels(Arm):
    """Moves on until it is told otherwise, and writes down what it is told; `note` is a file for that.

    `blocks` names a method that hangs from its `after`th call on, until it is stopped or let go.
    """

    def __init__(self, options: dict[str, object], seed: int) -> None:
        super().__init__(options, seed)
        self.told: list[str] = []
        self.calls = {"execute": 0, "observe": 0, "reset": 0}
        self.released = threading.Event()
        self.inside = threading.Event()

    def observe(self) -> Observation:
        self._maybe_hang("observe")
        return Observation(images={"front": np.zeros((4, 6, 3), np.uint8)}, state=np.zeros(1, np.float32))

    def execute(self, action: dict[str, float]) -> bool:
        self._note(f"go {action['pan']:g}")
        self._maybe_hang("execute")
        return not self.released.is_set()

    def reset(self) -> None:
        self._note("reset")
        self._maybe_hang("reset")

    def stop(self) -> None:
        self._note("stop")
        if self.options.get("heeds_stop", True):
            self.released.set()
        if self.options.get("cannot_stop"):
            raise RobotError("the brake does not answer")

    def close(self) -> None:
        self._note("close")

    def _maybe_hang(self, method: str) -> None:
        self.calls[method] += 1
        if self.options.get("blocks") == method and self.calls[method] > int(self.options.get("after", 0)):  # type: ignore[call-overload]
            self.released.clear()
            self.inside.set()
            self.released.wait(60)
            self.inside.clear()

    def _note(self, text: str) -> None:
        self.told.append(text)
        if self.options.get("note"):
            with open(str(self.options["note"]), "a") as file:
                file.write(f"{text}\n")


class WheelsWithoutSafety(Wheels):
    def __init__(self, options: dict[str, object], seed: int) -> None:
        super().__init__(options, seed)
        self.safe_action = {"pan": 9.0}


class WheelsThatBreak(Wheels):
    def observe(self) -> Observation:
        if self.calls["observe"] == 3:
            raise ZeroDivisionError("a mistake of the driver's author")
        return super().observe()


class Game:
    """Its episodes are over after three actions; each has a reward."""

    def __init__(self, options: dict[str, object], seed: int) -> None:
        self.action_space = ActionSpaceInfo(names=["key"], choices=[{"key": 0.0}, {"key": 1.0}])
        self.state_names: list[str] = []
        self.safe_action = {"key": 0.0}
        self.done = 0

    def observe(self) -> Observation:
        return Observation(images={"screen": np.full((4, 6, 3), self.done, np.uint8)})

    def execute(self, action: dict[str, float]) -> bool:
        self.done += 1
        return True

    def reset(self) -> None:
        self.done = 0

    def ended(self) -> str:
        return "terminated" if self.done == 3 else ""

    def step_values(self) -> dict[str, float]:
        return {"reward": float(self.done)}

    def stop(self) -> None:
        pass

    def close(self) -> None:
        pass
