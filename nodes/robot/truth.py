"""Counterfactual truth: a world that can be put back is asked what each action would lead to. Pure."""

from typing import Any, Protocol

import numpy as np

HISTORY = 3
"""Frames that lead to a state."""

Images = dict[str, np.ndarray[Any, np.dtype[np.uint8]]]
Vector = np.ndarray[Any, np.dtype[np.float32]]


class World(Protocol):
    """What can be put back as it was."""

    def save(self) -> Any:
        """All that decides what comes next."""

    def restore(self, saved: Any) -> None:
        """As when that was saved; any number of times."""

    def act(self, action: Vector) -> None:
        """Do an action, its numbers in the order of the action space's names."""

    def look(self) -> Images:
        """New arrays by camera."""

    def marker(self) -> tuple[float, float] | None:
        """Where the marker is in the first camera, x and y in pixels, if there is one."""


class Truths:
    """States of a world, what led to them, and what each candidate, float32 [A, D], leads to."""

    def __init__(self, candidates: Vector) -> None:
        self.candidates = candidates
        self._histories: list[list[Images]] = []
        self._past: list[list[Vector]] = []
        self._next: list[list[Images]] = []
        self._places: list[list[tuple[float, float] | None]] = []

    def __len__(self) -> int:
        return len(self._next)

    def add(self, world: World, history: list[Images], past: list[Vector]) -> None:
        """The world as it stands: `history` are its last frames, the newest is what it shows now, `past` the actions between."""
        saved = world.save()
        images: list[Images] = []
        places: list[tuple[float, float] | None] = []
        for action in self.candidates:
            world.restore(saved)
            world.act(action)
            images.append(world.look())
            places.append(world.marker())
        world.restore(saved)
        self._histories.append(history)
        self._past.append(past)
        self._next.append(images)
        self._places.append(places)

    def arrays(self, colour: tuple[int, int, int] | None = None) -> dict[str, np.ndarray[Any, Any]]:
        """As in `protocol.messages.Probe`; `colour` is that of the marker."""
        cameras = list(self._next[0][0])
        arrays: dict[str, np.ndarray[Any, Any]] = {
            "past_actions": np.array(self._past, np.float32).reshape(len(self), -1, self.candidates.shape[1]),
            "candidates": self.candidates,
        }
        for name in cameras:
            arrays[f"history/{name}"] = np.array([[images[name] for images in row] for row in self._histories])
            arrays[f"next/{name}"] = np.array([[images[name] for images in row] for row in self._next])
        if colour is not None and self._places[0][0] is not None:
            arrays["position"] = np.array(self._places, np.float32)
            arrays["colour"] = np.array(colour, np.uint8)
        return arrays
