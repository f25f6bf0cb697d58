"""A thread to encode video in. SVT-AV1, when it is run by root, puts the thread that calls it, and all of its own, on
real-time priority 99 for good: whatever that process does or starts afterwards takes the machine from everybody else.
"""

import ctypes
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

CAP_SYS_NICE = 23
_CAPABILITY_VERSION_3 = 0x20080522


class Encoding:
    """Runs calls one after the other, in a thread that cannot raise its priority. A context manager."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "encode", initializer=_stay_ordinary)

    def __call__(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """What the call returns or raises."""
        return self._thread.submit(call, *args, **kwargs).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()


def _stay_ordinary() -> None:
    """Take the right to raise priorities from this thread, and so from those that it starts."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)  # 0: of this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same of capabilities from 32 on
    if libc.capget(header, sets) == 0:
        sets[0] &= ~(1 << CAP_SYS_NICE)
        libc.capset(header, sets)
