"""A driver, watched: its trouble and its mistakes end the node with one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from nodes.robot.bodies import frame_arrays
from nodes.robot.interface import (
    Counts,
    EndsEpisodes,
    KnowsEpisode,
    KnowsStep,
    Observation,
    Robot,
    RobotError,
    check_action,
    check_observation,
)  # fmt: skip
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
        self._driver, self._name = driver, name
        self.action_space = driver.action_space
        self.state_names = driver.state_names

    @property
    def safe_action(self) -> Action:
        """The driver's, as it is now. Raises NodeError when it is none of its actions."""
        action = dict(self._driver.safe_action)
        if wrong := check_action(action, self.action_space):
            raise NodeError(f"driver {self._name!r}: its safe_action {action} is no action: {wrong}")
        return action

    def observe(self) -> Observation:
        try:
            with lost():
                seen = self._driver.observe()
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise NodeError(f"driver {self._name!r} fills an array that it gave away: it needs a new one for each observation") from error
        if wrong := check_observation(seen):
            raise NodeError(f"driver {self._name!r} gave a bad observation: {wrong}")
        for array in frame_arrays(seen).values():
            array.setflags(write=False)  # what was sent stays as it was
        return seen

    def episode_values(self) -> dict[str, float]:
        """What the driver tells of the episode that begins; nothing of most."""
        return dict(self._driver.episode_values()) if isinstance(self._driver, KnowsEpisode) else {}

    def step_values(self) -> dict[str, float]:
        """What the driver tells of the action that it has just executed; nothing of most."""
        return dict(self._driver.step_values()) if isinstance(self._driver, KnowsStep) else {}

    def ended(self) -> str:
        """Why the driver's episode is over; empty while it goes on, and of most always."""
        return str(self._driver.ended()) if isinstance(self._driver, EndsEpisodes) else ""

    def counts(self) -> dict[str, float]:
        """What the driver counts; nothing of most."""
        return dict(self._driver.counts()) if isinstance(self._driver, Counts) else {}

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
        """From any thread; raises what the driver raises."""
        self._driver.stop()

    def close(self) -> None:
        with lost():
            self._driver.close()
