"""Asks the system for bytes of a map before they are read: cold pages then come all at once, not one fault after the other."""

import ctypes
import mmap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

_PAGE = mmap.PAGESIZE


def _madvise() -> Callable[[int, int, int], Any] | None:
    """The system's call; None where there is none."""
    try:
        found = ctypes.CDLL(None).madvise
    except (OSError, AttributeError, TypeError):
        return None
    found.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return found if hasattr(mmap, "MADV_WILLNEED") else None


_ADVISE = _madvise()


def will_need(buffers: Iterable[memoryview]) -> None:
    """Begin to read the pages of these mapped buffers; returns soon, and is only a hint."""
    if _ADVISE is None:
        return
    for first, last in _joined(_pages(buffer) for buffer in buffers):
        _ADVISE(first * _PAGE, (last - first) * _PAGE, mmap.MADV_WILLNEED)


def _pages(buffer: memoryview) -> tuple[int, int]:
    """First page and the one after the last."""
    address = int(np.frombuffer(buffer, np.uint8).__array_interface__["data"][0])
    return address // _PAGE, -(-(address + len(buffer)) // _PAGE)


def _joined(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Spans that follow one another made one."""
    before: tuple[int, int] | None = None
    for first, last in spans:
        if before is not None and before[0] <= first <= before[1]:
            before = before[0], max(last, before[1])
            continue
        if before is not None:
            yield before
        before = first, last
    if before is not None:
        yield before
