"""What is wrong with an action space, and which of its actions a driver is tried with. Pure."""

import math
from itertools import product

import numpy as np

from protocol.messages import Action, ActionSpaceInfo

MOST_CHOICES = 64
MOST_CORNERS = 3
"""Of so many numbers all corners are tried; of more, each number's ends alone."""
RANDOM = 3


def wrong_with_space(space: object) -> str:
    """What is wrong with an action space; empty when nothing is."""
    if not isinstance(space, ActionSpaceInfo):
        return f"it is {type(space).__name__}, not protocol.messages.ActionSpaceInfo"
    names = space.names
    if not isinstance(names, list) or not names or not all(type(name) is str and name.strip() for name in names):
        return f"names are {names!r}; give plain strings, none of them empty"
    if len(set(names)) < len(names):
        return f"names are {names}: one is there twice"
    if space.discrete:
        return _wrong_with_choices(space)
    if not len(space.low) == len(space.high) == len(names):
        return f"{len(names)} names, {len(space.low)} values of low, {len(space.high)} of high; or give choices"
    for name, low, high in zip(names, space.low, space.high, strict=True):
        if not (_number(low) and _number(high) and low < high):
            return f"{name} goes from {low!r} to {high!r}; give finite plain numbers, low below high"
    return ""


def _wrong_with_choices(space: ActionSpaceInfo) -> str:
    if space.low or space.high:
        return "it has choices and bounds; give one of the two"
    for choice in space.choices:
        if set(choice) != set(space.names):
            return f"choice {choice} does not name each of {', '.join(space.names)}"
        if not all(map(_number, choice.values())):
            return f"choice {choice} holds what is no finite plain number"
    if len({tuple(sorted(choice.items())) for choice in space.choices}) < len(space.choices):
        return "one choice is there twice"
    return ""


def _number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def actions_to_try(space: ActionSpaceInfo, safe: Action, seed: int) -> list[Action]:
    """The choices; of numbers the safe action, the corners, and some in between. The safe action first and last."""
    if space.discrete:
        return [safe, *(dict(choice) for choice in space.choices[:MOST_CHOICES]), safe]
    bounds = list(zip(space.low, space.high, strict=True))
    if len(space.names) <= MOST_CORNERS:
        corners = [dict(zip(space.names, ends, strict=True)) for ends in product(*bounds)]
    else:
        corners = [{**safe, name: end} for name, ends in zip(space.names, bounds, strict=True) for end in ends]
    random = np.random.default_rng(seed)
    between = [{name: float(random.uniform(*ends)) for name, ends in zip(space.names, bounds, strict=True)} for _ in range(RANDOM)]
    return [safe, *corners, *between, safe]
