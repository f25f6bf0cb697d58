"""What is decided, and when. No clock, no files, no torch."""

import hashlib
import random
from collections.abc import Iterator, Sequence

STAY, PLUS, MINUS = CHOICES = 0, 1, 2


def generator(seed: int | None, episode: int, what: str) -> random.Random:
    """The draws of one episode: the same for the same seed and episode, others for another one; None: never the same."""
    if seed is None:
        return random.Random()
    return random.Random(hashlib.sha256(f"{seed}/{episode}/{what}".encode()).digest())


def decisions(sequence: Sequence[int] | None, draws: random.Random | None) -> Iterator[int]:
    """Those of `sequence`, once; else drawn for ever; else stay for ever."""
    if sequence is not None:
        yield from sequence
        return
    while True:
        yield STAY if draws is None else draws.choice(CHOICES)


class Beat:
    """Says when a decision is due: at once, and then every `period_s` on average, however irregular it is asked."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._due_s: float | None = None

    def due(self, now_s: float) -> bool:
        """Whether one is due now; the next one counts from when this one was due, or from now when that is over already."""
        if self._due_s is not None and now_s < self._due_s:
            return False
        due_s = now_s if self._due_s is None else self._due_s
        self._due_s = (due_s if now_s < due_s + self._period_s else now_s) + self._period_s
        return True
