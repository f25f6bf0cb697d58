"""What is particular to gym_pusht/PushT-v0: a disc, driven to a point, pushes a T; a world of 512 x 512."""

from typing import Any

import numpy as np

from nodes.robot.truth import Vector

ENV = "gym_pusht/PushT-v0"
WIDTH = 512
PIXELS = 96
ACTIONS = ["x", "y"]
STATE = ["agent_x", "agent_y", "block_x", "block_y", "block_angle"]
AGENT_COLOUR = (78, 126, 255)


def kwargs(size: tuple[int, int] | None) -> dict[str, Any]:
    """Pictures [height, width] as the environment observes them: those that it renders show the last action too."""
    height, width = size or (PIXELS, PIXELS)
    return {"obs_type": "pixels_agent_pos", "observation_height": height, "observation_width": width}


class PushT:
    """An environment made with `kwargs`. Its bodies are put back into a new space: one that has run remembers contacts."""

    def __init__(self, env: Any) -> None:
        self._env = env.unwrapped

    @property
    def agent(self) -> Vector:
        """x, y; of the world, inside it."""
        return np.clip(np.array(self._env.agent.position), 0, WIDTH)

    def state(self) -> Vector:
        """As STATE, the angle from 0 to 2 pi."""
        block = self._env.block
        return np.array([*self._env.agent.position, *block.position, block.angle % (2 * np.pi)], np.float32)

    def save(self) -> list[Any]:
        """The world is put back at once, so that it goes on as any other time that it is."""
        agent, block = self._env.agent, self._env.block
        bodies = [(body.angle, body.position, body.velocity, body.angular_velocity) for body in (agent, block)]
        self.restore(bodies)
        return bodies

    def restore(self, saved: list[Any]) -> None:
        """To turn a body moves it: first its angle, then its place."""
        self._env._setup()
        for body, values in zip((self._env.agent, self._env.block), saved, strict=True):
            body.angle, body.position, body.velocity, body.angular_velocity = values

    def marker(self, size: tuple[int, int]) -> tuple[float, float]:
        """The disc in a picture [height, width]: x and y in pixels."""
        x, y = self._env.agent.position
        return (x + 0.5) * size[1] / WIDTH - 0.5, (y + 0.5) * size[0] / WIDTH - 0.5
