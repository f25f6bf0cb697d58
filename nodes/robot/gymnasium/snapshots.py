"""An environment saved and put back as it was, in place."""

import copy
import warnings
from typing import Any

import gymnasium

FIXED = ("spec", "_spec", "metadata", "observation_space", "action_space", "_observation_space", "_action_space")
"""Of an environment, what never changes."""
MUJOCO = ("mujoco", "gymnasium.envs.mujoco")
"""Where what MuJoCo simulates and draws with comes from: its state is copied by itself."""


class Snapshots:
    """Its attributes and those of its wrappers are copied, all that copies can be made of; MuJoCo's data by MuJoCo.

    Whether that is all that decides what comes next, only a trial can tell.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self._layers: list[Any] = [env]
        while isinstance(self._layers[-1], gymnasium.Wrapper):
            self._layers.append(self._layers[-1].env)

    def save(self) -> tuple[list[dict[str, Any]], Any]:
        return self._copied([vars(layer) for layer in self._layers]), self._physics()

    def restore(self, saved: tuple[list[dict[str, Any]], Any]) -> None:
        """As often as wanted."""
        for layer, attributes in zip(self._layers, self._copied(saved[0]), strict=True):
            vars(layer).update(attributes)
        mujoco, model, data = self._mujoco()
        if mujoco is not None:
            mujoco.mj_copyData(data, model, saved[1])

    def _copied(self, parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What points at another attribute, or at a layer, points there in the copy too."""
        memo: dict[int, Any] = {id(layer): layer for layer in self._layers}
        return [self._copies(attributes, memo) for attributes in parts]

    def _copies(self, attributes: dict[str, Any], memo: dict[int, Any]) -> dict[str, Any]:
        made = {}
        for name, value in attributes.items():
            if name in FIXED or type(value).__module__.startswith(MUJOCO):
                continue
            try:
                with warnings.catch_warnings(action="ignore"):
                    made[name] = copy.deepcopy(value, memo)
            except Exception:  # a window, a clock: it stays what it is
                continue
        return made

    def _physics(self) -> Any:
        """A copy of MuJoCo's data; None without."""
        mujoco, model, data = self._mujoco()
        if mujoco is None:
            return None
        kept = mujoco.MjData(model)
        mujoco.mj_copyData(kept, model, data)
        return kept

    def _mujoco(self) -> tuple[Any, Any, Any]:
        """MuJoCo, and the environment's model and data; three None without."""
        model, data = (getattr(self._layers[-1], name, None) for name in ("model", "data"))
        if not type(data).__module__.startswith("mujoco"):
            return None, None, None
        import mujoco

        return mujoco, model, data
