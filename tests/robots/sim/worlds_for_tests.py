"""Environments of gymnasium, small ones: registered when this module is imported, as packages of environments do."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces


class Grid(gymnasium.Env[Any, Any]):
    """A light in a row of `width`; an action moves it. It ends at the right edge. `kind` is that of its actions."""

    observation_space = spaces.Dict({"at": spaces.Discrete(8), "picture": spaces.Box(0, 255, (8, 8, 3), np.uint8)})
    metadata: ClassVar = {"render_modes": ["rgb_array"]}

    def __init__(self, kind: str = "discrete", render_mode: str = "rgb_array", forgets: bool = False) -> None:
        self.render_mode = render_mode
        self.forgets = [0] if forgets else None
        self.action_space = {
            "discrete": spaces.Discrete(3, start=-1), "box": spaces.Box(-1, 1, (1, 2)), "multi": spaces.MultiDiscrete([3, 2]),
            "bits": spaces.MultiBinary(3), "endless": spaces.Box(-np.inf, np.inf, (2,)), "text": spaces.Text(4),
            "many": spaces.MultiDiscrete([100, 100]),
        }[kind]  # fmt: skip
        self.taken: list[Any] = []
        self.at = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at = int(self.np_random.integers(0, 4))
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.taken.append(action)
        self.at = int(np.clip(self.at + round(float(np.ravel(action)[0])), 0, 7))
        return self._seen(), float(self.at), self.at == 7, False, {}

    def render(self) -> Any:
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[:, self.at] = 255
        if self.forgets is not None:  # hidden from whoever would save it
            COUNTED[0] += 1
            picture[0, 0] = COUNTED[0] % 256
        return picture

    def _seen(self) -> Any:
        return {"at": self.at, "picture": self.render()}


COUNTED = [0]
gymnasium.register("worlds_for_tests/Grid-v0", entry_point=Grid)
