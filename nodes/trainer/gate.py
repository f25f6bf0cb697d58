"""Learn first, act then: each frame is held back from the robot until what led to it is learned well enough.

The original's quality gating: train until the loss of the newest transition is below a threshold, at most so many steps.
"""

Place = tuple[int, int]  # episode, step


class Gate:
    """Which frame waits, and which was let through last."""

    def __init__(self, threshold: float, most_steps: int) -> None:
        self.threshold, self.most_steps = threshold, most_steps
        self.waiting: tuple[Place, int] | None = None
        """The frame, and the transition that led to it."""
        self.steps = 0
        self.loss = 0.0
        self.released: Place | None = None

    def shown(self, place: Place, transition: int | None) -> Place | None:
        """A frame came, led to by this transition (None: by none that can be learned from). The place to let through now, if any.

        One that is shown again goes on waiting, or is let through again.
        """
        if self.waiting is not None and self.waiting[0] == place:
            return None
        self.steps, self.loss = 0, 0.0
        if transition is None or self.released == place:
            return self._release(place)
        self.waiting = place, transition
        return None

    def trained(self, loss: float) -> Place | None:
        """A step was made, the transition cost this much before it. The place to let through, if it is enough."""
        assert self.waiting is not None
        self.steps, self.loss = self.steps + 1, loss
        return self._release(self.waiting[0]) if loss < self.threshold or self.steps >= self.most_steps else None

    def open(self) -> Place | None:
        """Let through what waits, whatever was learned."""
        return None if self.waiting is None else self._release(self.waiting[0])

    def _release(self, place: Place) -> Place:
        self.waiting, self.released = None, place
        return place
