"""How the next action is chosen: constant, sequence, random with durations, recorded, or a person.

    selector = make_selector("random", {"min_steps": 1, "max_steps": 3}, candidates, seed=0)
    action = selector.select(Seen(episode=0, step=3, state=None))        # None: nothing to do until somebody decides

Pure: no clock, no bus. `candidates` are all choices of a discrete space, or samples of a continuous one.
"""

import difflib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec
import numpy as np

from protocol.messages import Action, ActionSpaceInfo

SEQUENCES: dict[str, list[int]] = {
    "always_move": [1],
    "always_stay": [0],
    "alternate": [0, 1],
    "double_move": [1, 1, 0],
    "triple_move": [1, 1, 1, 0],
}


class SelectorError(ValueError):
    """A selector that cannot be made as asked. One line: what is wrong, what to try."""


class EndOfActions(Exception):
    """A selector that has nothing more to do."""


class Seen(msgspec.Struct, frozen=True):
    """The frame that asks for an action: its place, and the robot's state, float32 [D], where it tells one."""

    episode: int
    step: int
    state: np.ndarray | None


class Selector(Protocol):
    """Chooses one action per step."""

    def select(self, seen: Seen) -> Action | None:
        """The next action; None while a person has not decided. EndOfActions when there are no more."""


class Constant(msgspec.Struct, forbid_unknown_fields=True):
    """Always the same: `index` among the candidates, or the `action` itself."""

    candidates: list[Action]
    index: int = 0
    action: Action | None = None

    @property
    def chosen(self) -> Action:
        return dict(self.action or pick(self.candidates, self.index))

    def select(self, seen: Seen) -> Action | None:
        return self.chosen


class Sequence(msgspec.Struct, forbid_unknown_fields=True):
    """Plays `sequence` (a name of SEQUENCES, or indices) over and over, or `once`."""

    candidates: list[Action]
    sequence: str | list[int]
    once: bool = False
    place: int = 0

    def __post_init__(self) -> None:
        indices = self.indices
        if not indices:
            raise SelectorError("sequence is empty; give at least one index")
        for index in indices:
            pick(self.candidates, index)

    @property
    def indices(self) -> list[int]:
        if isinstance(self.sequence, str):
            return _named(self.sequence)
        return self.sequence

    def select(self, seen: Seen) -> Action | None:
        indices = self.indices
        if self.once and self.place >= len(indices):
            raise EndOfActions("the sequence has been played")
        index = indices[self.place % len(indices)]
        self.place += 1
        return dict(self.candidates[index])


class Random:
    """A random action, held for a random number of steps from `min_steps` to `max_steps`, both included."""

    def __init__(self, space: ActionSpaceInfo, seed: int, min_steps: int = 1, max_steps: int = 1) -> None:
        if not 1 <= min_steps <= max_steps:
            raise SelectorError(f"min_steps {min_steps} and max_steps {max_steps}: give 1 <= min_steps <= max_steps")
        self.space, self.min_steps, self.max_steps = space, min_steps, max_steps
        self._random = np.random.RandomState(seed % 2**32)
        self._left = 0
        self._action: Action = {}

    def select(self, seen: Seen) -> Action | None:
        if self._left == 0:
            self._left = int(self._random.randint(self.min_steps, self.max_steps + 1))
            self._action = self._draw()
        self._left -= 1
        return dict(self._action)

    def _draw(self) -> Action:
        if self.space.discrete:
            return self.space.choices[self._random.randint(len(self.space.choices))]
        values = self._random.uniform(self.space.low, self.space.high)
        return {name: float(value) for name, value in zip(self.space.names, values, strict=True)}


class Recorded:
    """The actions of a recording, in order."""

    def __init__(self, actions: Iterator[Action]) -> None:
        self._actions = actions

    def select(self, seen: Seen) -> Action | None:
        action = next(self._actions, None)
        if action is None:
            raise EndOfActions("the recorded actions have been played")
        return dict(action)


class Person:
    """Waits for a person's key; with `otherwise` it acts so while none came (a paced robot)."""

    def __init__(self, otherwise: Action | None) -> None:
        self.otherwise = otherwise

    def select(self, seen: Seen) -> Action | None:
        return None if self.otherwise is None else dict(self.otherwise)


def make_selector(
    name: str, options: dict[str, Any], space: ActionSpaceInfo, candidates: list[Action], seed: int,
    recorded: Callable[..., Iterator[Action]], otherwise: Action | None,
) -> Selector:  # fmt: skip
    """The selector called `name`; SelectorError when its options are not right.

    `recorded` opens a recording's actions with the options given; `otherwise` is what a person's selector
    does while no key came.
    """
    try:
        if name == "constant":
            selector = msgspec.convert({"candidates": candidates, **options}, Constant)
            _check(selector.chosen, space)
            return selector
        if name == "sequence":
            return msgspec.convert({"candidates": candidates, **options}, Sequence)
        if name == "random":
            return Random(space, seed, **options)
        if name == "recorded":
            return Recorded(recorded(**options))
        if name == "person":
            return Person(otherwise, **options)
    except (TypeError, msgspec.ValidationError, ValueError) as error:
        raise SelectorError(f"selector {name!r}: {error}") from None
    raise SelectorError(f"unknown selector {name!r}")


def pick(candidates: list[Action], index: Any) -> Action:
    """The candidate number `index`; SelectorError when there is none."""
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(candidates):
        raise SelectorError(f"there is no action {index!r}; choose 0 to {len(candidates) - 1}")
    return candidates[index]


def _check(action: Action, space: ActionSpaceInfo) -> None:
    """SelectorError when the robot does not take `action`."""
    if set(action) != set(space.names):
        raise SelectorError(f"an action of this robot names {', '.join(space.names)}; got {', '.join(action)}")
    if space.discrete and action not in space.choices:
        raise SelectorError(f"{action} is not one of the {len(space.choices)} actions of this robot")
    for name, low, high in zip(space.names, space.low, space.high, strict=False):
        if not low <= action[name] <= high:
            raise SelectorError(f"{name}={action[name]:g} is outside [{low:g}, {high:g}]")


def _named(name: str) -> list[int]:
    if name in SEQUENCES:
        return SEQUENCES[name]
    near = difflib.get_close_matches(name, SEQUENCES, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SEQUENCES)}, or give a list of indices"
    raise SelectorError(f"unknown sequence {name!r}; {hint}")
