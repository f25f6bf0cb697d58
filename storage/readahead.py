"""Asks the system for records before they are touched: cold pages then come all at once, not one fault after the other.

py-lmdb touches every page of a value when it hands it out, so the place of a value is read from the node that names it,
as LMDB's file format (version 1) has it. All of this is hints: where something is not as expected, nothing is asked for.
"""

import ctypes
import mmap
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from storage.errors import CorruptSession
from storage.segment import Segment

try:
    import resource
except ImportError:  # not on Windows, nor is what follows
    resource = None  # type: ignore[assignment]

WARM = 1000
"""So many records in a row that were in memory: then nothing is asked for, which costs too, until a page is missed."""
_PAGE = mmap.PAGESIZE
_KEY = struct.Struct(">Q")
_NODE = struct.Struct("=HHHH8sQ")  # size low, size high, flags, key size | key | first page of a large value
_PAGE_NUMBER = struct.Struct("=Q")  # a page begins with it
_LARGE = 1  # flag of a node whose value has pages of its own
_HEAD = 16  # bytes of every page before its content


class _System:
    """The calls that are needed. OSError where there are none."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(None)
            self._advise, self._state = library.madvise, library.mincore
            self._advice = mmap.MADV_WILLNEED
            self._thread = resource.RUSAGE_THREAD
        except (AttributeError, TypeError) as error:
            raise OSError(f"no readahead here: {error}") from error
        self._advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        self._state.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)

    def will_need(self, start: int, size: int) -> bool:
        """Begin to read these bytes, `start` the begin of a page; False when their last page is in memory already."""
        state = ctypes.c_ubyte(0)
        if self._state(start + (size - 1) // _PAGE * _PAGE, 1, ctypes.byref(state)) == 0 and state.value & 1:
            return False
        self._advise(start, size, self._advice)
        return True

    def faults(self) -> int:
        """How often this thread had to wait for a page from the disk."""
        return resource.getrusage(self._thread).ru_majflt


def _system() -> _System | None:
    try:
        return _System()
    except OSError:
        return None


_SYSTEM = _system()


class ReadAhead:
    """What one reader knows of how warm its session is; several threads may use it."""

    def __init__(self) -> None:
        self._warm = 0

    @contextmanager
    def of(self, segment: Segment, numbers: Iterable[int]) -> Iterator[None]:
        """Around the reading of these events: their records, as far as they are there and large, are asked for first."""
        if _SYSTEM is None:
            yield
            return
        if self._warm < WARM:
            self._ask(_SYSTEM, segment, numbers)
        before = _SYSTEM.faults()
        yield
        if _SYSTEM.faults() != before:
            self._warm = 0

    def _ask(self, system: _System, segment: Segment, numbers: Iterable[int]) -> None:
        try:
            # in a transaction of its own: with a page that cannot be read a transaction is over, and the reader needs his
            with segment.read() as txn, txn.cursor(db=segment.table("events")) as cursor:
                for number in numbers:
                    if cursor.set_key(_KEY.pack(number)):
                        start, size = _value(cursor.key())
                        self._warm = 0 if size and system.will_need(start, size) else self._warm + 1
        except CorruptSession:
            return  # a damaged index: who reads it will say so


def _value(key: memoryview) -> tuple[int, int]:
    """Address and bytes of the pages of the large value whose key lies here, in the map; 0, 0 when it is not large."""
    at = int(np.frombuffer(key, np.uint8).__array_interface__["data"][0])
    page, offset = at - at % _PAGE, at % _PAGE
    if len(key) != _KEY.size or not _HEAD + 8 <= offset <= _PAGE - 16:
        return 0, 0
    low, high, flags, size, _, first = _NODE.unpack(ctypes.string_at(at - 8, _NODE.size))
    if size != _KEY.size or flags != _LARGE:
        return 0, 0
    (number,) = _PAGE_NUMBER.unpack(ctypes.string_at(page, _PAGE_NUMBER.size))
    return page + (first - number) * _PAGE, _HEAD + low + (high << 16)
