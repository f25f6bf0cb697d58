"""Arithmetic of spans, against sets of numbers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.spans import Numbering, count, joined, outside, shared, spans_of

pairs = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12)


def numbers(spans) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


def proper(spans) -> bool:
    return all(first <= last for first, last in spans) and all(a[1] + 1 < b[0] for a, b in pairwise(spans))


@given(pairs)
def test_joined_holds_the_same_numbers(spans):
    assert numbers(joined(spans)) == numbers(spans)
    assert proper(joined(spans))
    assert count(joined(spans)) == len(numbers(spans))


@given(pairs, pairs)
def test_outside_and_shared_are_those_of_sets(a, b):
    a, b = joined(a), joined(b)
    assert numbers(outside(a, b)) == numbers(a) - numbers(b)
    assert numbers(shared(a, b)) == numbers(a) & numbers(b)
    assert proper(outside(a, b)) and proper(shared(a, b))
    assert joined([*outside(a, b), *shared(a, b)]) == a


@given(pairs)
def test_spans_of_numbers_that_rise(spans):
    spans = joined(spans)
    assert spans_of(np.array(sorted(numbers(spans)), np.int64)) == spans


@given(pairs, st.integers(0, 80))
def test_numbering_counts_through(spans, start):
    numbering = Numbering(joined(spans))
    held = sorted(numbers(spans))
    assert len(numbering) == len(held)
    assert [numbering.number_at(place) for place in range(len(held))] == held
    assert [numbering.place_of(number) for number in held] == list(range(len(held)))
    assert [number for number in range(70) if number in numbering] == held
    assert sorted(numbers(numbering.spans_from(start))) == held[start:]
    with pytest.raises(IndexError):
        numbering.number_at(len(held))
