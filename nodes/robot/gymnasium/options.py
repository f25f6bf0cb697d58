"""What a launch file may say about a gymnasium environment."""

from typing import Annotated, Any

import msgspec

from protocol.messages import Action

Pixels = Annotated[int, msgspec.Meta(ge=8, le=4096)]
Finite = Annotated[float, msgspec.Meta(gt=-1e300, lt=1e300)]


class GymnasiumOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`env` is the id, which the driver's name gives; `kwargs` go to `gymnasium.make`. Pictures are made `size`, [height, width].

    `action_names` are those of the numbers of an action; `action_low` and `action_high` stand where the environment has no
    bounds; an action is done `repeat` times over; `safe_action` is the first choice, or the middle, unless given.
    `probe_states`: how many states are tried with every action, or with so many `candidates` of one that is continuous.
    """

    env: str
    kwargs: dict[str, Any] = {}
    size: tuple[Pixels, Pixels] | None = None
    action_names: list[str] = []
    action_low: Finite | None = None
    action_high: Finite | None = None
    repeat: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    safe_action: Action | None = None
    probe_states: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 64
    candidates: Annotated[int, msgspec.Meta(ge=1, le=64)] = 6
