"""Which actions a driver is tried with. Pure."""

from itertools import product

import numpy as np

from protocol.messages import Action, ActionSpaceInfo

MOST_CHOICES = 64
MOST_CORNERS = 3
"""Of so many numbers all corners are tried; of more, each number's ends alone."""
RANDOM = 3


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
