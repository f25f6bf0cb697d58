"""One environment of gymnasium: made without a window, stepped, seen, saved and put back."""

import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import gymnasium
import numpy as np

from nodes.robot.gymnasium import pusht
from nodes.robot.gymnasium.options import GymnasiumOptions
from nodes.robot.gymnasium.snapshots import Snapshots
from nodes.robot.gymnasium.spaces import Actions, picture_in, state_names, state_of
from nodes.robot.headless import choose_gl
from nodes.robot.interface import RobotError
from nodes.robot.truth import Images, Vector
from protocol.messages import Action

CAMERA = "scene"


class Simulation:
    """`over` says why its episode is over, empty while it goes on; `reward` is that of the last action.

    A picture among what it observes is shown; without one, what it renders. Raises RobotError, one line, for what the environment
    raises, at any time.
    """

    def __init__(self, options: GymnasiumOptions, seed: int) -> None:
        self._options = options
        self.push_t = options.env == pusht.ENV and not options.kwargs
        names = options.action_names or (pusht.ACTIONS if self.push_t else [])
        self.env = _make(options.env, pusht.kwargs(options.size) if self.push_t else options.kwargs)
        self.actions = Actions(self.env.action_space, names, options.action_low, options.action_high)
        self._special = pusht.PushT(self.env) if self.push_t else None
        self._restorer = self._special or Snapshots(self.env)
        self.state_names = list(pusht.STATE) if self._special else state_names(self.env.observation_space)
        self.over, self.reward = "", 0.0
        self.reset(seed)

    def reset(self, seed: int | None = None) -> None:
        """A new episode; with a seed all that follows is decided by it."""
        with self._told("reset"):
            self._seen, _ = self.env.reset(seed=seed)
        self.over, self.reward = "", 0.0

    def act(self, action: Vector) -> None:
        """As often as it is repeated, unless that ends the episode."""
        told = self.actions.to_env(action.tolist())
        self.reward = 0.0
        for _ in range(self._options.repeat):
            with self._told("step"):
                self._seen, reward, terminated, truncated, _ = self.env.step(told)
            self.reward += float(reward)
            self.over = "terminated" if terminated else "truncated" if truncated else ""
            if self.over:
                return

    def look(self) -> Images:
        """New arrays each time."""
        picture = picture_in(self.env.observation_space, self._seen)
        with self._told("render"):
            if picture is None:
                picture = self.env.render()
        if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise RobotError(f"environment {self._options.env!r} renders no rgb_array pictures, HxWx3 uint8")
        return {CAMERA: self._resized(picture)}

    def state(self) -> Vector | None:
        if not self.state_names:
            return None
        return self._special.state() if self._special else state_of(self.env.observation_space, self._seen)

    @property
    def still(self) -> Action:
        """What keeps it still, as far as that can be known."""
        if self._special is None:
            return self.actions.still
        return dict(zip(self.actions.info.names, self._special.agent.tolist(), strict=True))

    def save(self) -> tuple[Any, ...]:
        with self._told("save"):
            return self._restorer.save(), self._seen, self.over, self.reward

    def restore(self, saved: tuple[Any, ...]) -> None:
        with self._told("restore"):
            self._restorer.restore(saved[0])
        _, self._seen, self.over, self.reward = saved

    def marker(self) -> tuple[float, float] | None:
        if self._special is None:
            return None
        return self._special.marker(self._options.size or (pusht.PIXELS, pusht.PIXELS))

    def close(self) -> None:
        with suppress(Exception):
            self.env.close()

    def _resized(self, picture: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
        size = self._options.size
        if size is None or picture.shape[:2] == size:
            return picture.copy()
        import cv2

        return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Inside, whatever is raised is the environment's."""
        try:
            with warnings.catch_warnings(action="ignore"):
                yield
        except Exception as error:
            why = " ".join(str(error).split())
            raise RobotError(f"environment {self._options.env!r}: {what} raised {type(error).__name__}: {why}") from error


def _make(env: str, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Packages that register environments when they are imported are found by the id's namespace."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    with suppress(RobotError):  # most need no MuJoCo
        choose_gl()
    namespace = env.partition("/")[0] if "/" in env else ""
    try:
        with warnings.catch_warnings(action="ignore"):
            if namespace.isidentifier():
                with suppress(ModuleNotFoundError):
                    importlib.import_module(namespace)
            return gymnasium.make(env, render_mode="rgb_array", disable_env_checker=True, **kwargs)
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise RobotError(f"gymnasium cannot make {env!r}: {why}") from None
