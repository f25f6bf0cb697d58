"""Between gymnasium's spaces and what a robot tells: actions by name, a state with names, pictures. Pure."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from protocol.messages import Action, ActionSpaceInfo

MOST_CHOICES = 256
MOST_NUMBERS = 64
NAME = "action"

Numbers = np.ndarray[Any, np.dtype[Any]]


class Actions:
    """An environment's actions: `info` is what a robot tells of them, `to_env` what the environment takes."""

    def __init__(self, space: spaces.Space[Any], names: Sequence[str], low: float | None, high: float | None) -> None:
        """`low` and `high` stand where a Box has no bounds. Raises ValueError, one line, for a space that cannot be taken."""
        self._space = space
        if isinstance(space, spaces.Box):
            self.info = _box(space, names, low, high)
        else:
            kinds = [range(int(start), int(start + count)) for start, count in _counts(space)]
            if math.prod(len(kind) for kind in kinds) > MOST_CHOICES:
                raise ValueError(f"its actions {space} have more than {MOST_CHOICES} choices: wrap it in a driver of your own")
            names = _named(names, len(kinds))
            choices = [dict(zip(names, map(float, values), strict=True)) for values in itertools.product(*kinds)]
            self.info = ActionSpaceInfo(names=names, choices=choices)

    @property
    def still(self) -> Action:
        """The first choice; of numbers the middle."""
        info = self.info
        if info.discrete:
            return dict(info.choices[0])
        return {name: (low + high) / 2 for name, low, high in zip(info.names, info.low, info.high, strict=True)}

    def to_env(self, values: Sequence[float]) -> Any:
        """From the numbers of an action, in the order of its names."""
        space = self._space
        if isinstance(space, spaces.Discrete):
            return space.dtype.type(round(values[0]))
        numbers = np.array(values, np.float64).reshape(space.shape)
        return (numbers if isinstance(space, spaces.Box) else numbers.round()).astype(space.dtype)


def _counts(space: spaces.Space[Any]) -> list[tuple[int, int]]:
    """The first of each number's values, and how many there are."""
    if isinstance(space, spaces.Discrete):
        return [(int(space.start), int(space.n))]
    if isinstance(space, spaces.MultiDiscrete):
        return list(zip(space.start.ravel().tolist(), space.nvec.ravel().tolist(), strict=True))
    if isinstance(space, spaces.MultiBinary):
        return [(0, 2)] * math.prod(space.shape)
    raise ValueError(f"its actions are {space}; a driver takes Discrete, Box, MultiDiscrete and MultiBinary")


def _box(space: spaces.Box, names: Sequence[str], low: float | None, high: float | None) -> ActionSpaceInfo:
    size = math.prod(space.shape)
    if not 0 < size <= MOST_NUMBERS:
        raise ValueError(f"its actions {space} are {size} numbers; the limit is {MOST_NUMBERS}")
    bounds = []
    for bound, given, what in ((space.low, low, "action_low"), (space.high, high, "action_high")):
        values = bound.astype(np.float64).ravel()
        if not np.isfinite(values).all() and given is None:
            raise ValueError(f"its actions {space} have no bounds: give {what}, a number, such as {'-1' if what == 'action_low' else '1'}")
        bounds.append([value if math.isfinite(value) else float(given or 0.0) for value in values.tolist()])
    if not all(below < above for below, above in zip(*bounds, strict=True)):
        raise ValueError(f"its actions {space} would go from {bounds[0]} to {bounds[1]}: each low must be below its high")
    return ActionSpaceInfo(names=_named(names, size), low=bounds[0], high=bounds[1])


def _named(names: Sequence[str], count: int, prefix: str = NAME) -> list[str]:
    """The names given, or made ones. Raises ValueError unless they are as many as there are numbers."""
    if names and (len(names) != count or len(set(names)) != count):
        raise ValueError(f"{len(names)} names for {count} numbers: {', '.join(names)}; give each its own")
    return list(names) or ([prefix] if count == 1 else [f"{prefix}_{place}" for place in range(count)])


# -- observations -----------------------------------------------------------------------------------


def state_names(space: spaces.Space[Any]) -> list[str]:
    """Of the numbers of an observation, pictures apart; empty where there are none, or more than a state should have."""
    names = [name for key, part in _parts(space, "observation") if _is_vector(part) for name in _named((), _size(part), key)]
    return names if len(names) <= MOST_NUMBERS else []


def state_of(space: spaces.Space[Any], observation: Any) -> Numbers:
    """The numbers of an observation, float32, in the order of `state_names`."""
    values = [np.ravel(value) for part, value in _values(space, observation) if _is_vector(part)]
    return np.concatenate(values).astype(np.float32) if values else np.empty(0, np.float32)


def picture_in(space: spaces.Space[Any], observation: Any) -> Numbers | None:
    """The first picture in an observation, uint8 [H, W, 3], if there is one."""
    return next((np.asarray(value) for part, value in _values(space, observation) if is_picture(part)), None)


def is_picture(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3 and space.shape[2] == 3


def _parts(space: spaces.Space[Any], key: str) -> Iterator[tuple[str, spaces.Space[Any]]]:
    if isinstance(space, spaces.Dict):
        for name, part in space.spaces.items():
            yield from _parts(part, str(name))
    else:
        yield key, space


def _values(space: spaces.Space[Any], observation: Any) -> Iterator[tuple[spaces.Space[Any], Any]]:
    if isinstance(space, spaces.Dict):
        for name, part in space.spaces.items():
            yield from _values(part, observation[name])
    else:
        yield space, observation


def _is_vector(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Discrete) or (isinstance(space, spaces.Box) and len(space.shape) <= 1)


def _size(space: spaces.Space[Any]) -> int:
    return math.prod(space.shape or (1,))
