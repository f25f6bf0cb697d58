"""A driver, watched: its trouble and its mistakes end the node with one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from nodes.robot.interface import Observation, Robot, RobotError, check_action, check_observation
from nodes.runtime import NodeError
from protocol.messages import Action


@contextmanager
def lost() -> Iterator[None]:
    """Inside, a RobotError means that the node cannot go on."""
    try:
        yield
    except RobotError as error:
        raise NodeError(f"the robot is lost: {error}") from None


class Guard:
    """Does what the driver does, and checks what it gives."""

    def __init__(self, driver: Robot, name: str) -> None:
        """Raises NodeError when the driver's safe action is none of its actions."""
        self._driver, self._name = driver, name
        self.action_space = driver.action_space
        self.safe_action = driver.safe_action
        self.state_names = driver.state_names
        if wrong := check_action(driver.safe_action, driver.action_space):
            raise NodeError(f"driver {name!r}: its safe_action {driver.safe_action} is no action: {wrong}")

    def observe(self) -> Observation:
        with lost():
            seen = self._driver.observe()
        if wrong := check_observation(seen):
            raise NodeError(f"driver {self._name!r} gave a bad observation: {wrong}")
        return seen

    def execute(self, action: Action) -> bool:
        with lost():
            done = self._driver.execute(action)
        if not isinstance(done, bool | np.bool_):
            raise NodeError(f"driver {self._name!r}: execute returned {done!r}, not whether it was done (True or False)")
        return bool(done)

    def reset(self) -> None:
        with lost():
            self._driver.reset()

    def stop(self) -> None:
        with lost():
            self._driver.stop()

    def close(self) -> None:
        with lost():
            self._driver.close()
