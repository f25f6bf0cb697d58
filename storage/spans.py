"""Spans of numbers, (first, last), both inclusive: what is missing of a stream, what a split holds of a session.

A list of spans is sorted, and its spans neither overlap nor touch, unless it says otherwise.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in any order, sorted, with overlapping and touching ones made one."""
    out: list[Span] = []
    for first, last in sorted(spans):
        if first > last:
            continue
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return out


def outside(spans: Iterable[Span], others: list[Span]) -> list[Span]:
    """The numbers of `spans` that are in none of `others`."""
    out: list[Span] = []
    for first, last in spans:
        at = bisect_left(others, first, key=lambda span: span[1])
        while at < len(others) and others[at][0] <= last:
            if first < others[at][0]:
                out.append((first, others[at][0] - 1))
            first = others[at][1] + 1
            at += 1
        if first <= last:
            out.append((first, last))
    return out


def shared(spans: list[Span], others: list[Span]) -> list[Span]:
    """The numbers that are in both."""
    return outside(spans, outside(spans, others))


def count(spans: Iterable[Span]) -> int:
    """How many numbers they hold."""
    return sum(last - first + 1 for first, last in spans)


def spans_of(numbers: NDArray[np.int64]) -> list[Span]:
    """The spans of numbers that rise."""
    if not numbers.size:
        return []
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    firsts: list[Any] = numbers[np.concatenate([[0], breaks + 1])].tolist()
    lasts: list[Any] = numbers[np.concatenate([breaks, [numbers.size - 1]])].tolist()
    return list(zip(firsts, lasts, strict=True))


class Numbering:
    """Numbers 0, 1, 2... of what some spans hold, and back."""

    def __init__(self, spans: list[Span]) -> None:
        self.spans = spans
        self._firsts = [first for first, _ in spans]
        self._before = [0, *accumulate(last - first + 1 for first, last in spans)]

    def __len__(self) -> int:
        return self._before[-1]

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number) - 1
        return at >= 0 and number <= self.spans[at][1]

    def number_at(self, place: int) -> int:
        """The number at a place from 0 on. Raises IndexError."""
        if not 0 <= place < len(self):
            raise IndexError(place)
        at = bisect_right(self._before, place) - 1
        return self.spans[at][0] + place - self._before[at]

    def place_of(self, number: int) -> int:
        """The place of a number that is there."""
        at = bisect_right(self._firsts, number) - 1
        return self._before[at] + number - self.spans[at][0]

    def spans_from(self, place: int) -> list[Span]:
        """The spans from a place on; none behind the last."""
        if place >= len(self):
            return []
        number = self.number_at(max(place, 0))
        at = bisect_right(self._firsts, number) - 1
        return [(number, self.spans[at][1]), *self.spans[at + 1 :]]
