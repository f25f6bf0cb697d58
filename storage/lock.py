"""One writer per session: an advisory lock on a file that holds the writer's process id.

The system drops the lock when its process dies, however it dies; the file stays and means nothing then.
"""

import os
import sys
import time
from pathlib import Path
from typing import Self

from storage.errors import SessionLocked

LOCK_FILE = "writer.lock"
_TRIES = 5

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # beyond the id, which others read
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


class SessionLock:
    """The right to write the session at `path`, from construction to `close`. Raises SessionLocked."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        # several tries: somebody who only asks holds the lock for a moment
        for attempt in range(_TRIES):
            if _try_lock(self._descriptor):
                break
            if attempt == _TRIES - 1:
                owner = _pid(path)
                os.close(self._descriptor)
                raise SessionLocked(f"session {path.name} is being written by process {owner}: stop that run or choose another name")
            time.sleep(0.01)
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def close(self) -> None:
        """Give the right back; more than once is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def writer_pid(path: Path) -> int | None:
    """The id of the process that writes the session now; None when nobody does."""
    try:
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR)
    except OSError:  # never written, or not ours to write: then only its owner can be writing
        return None
    try:
        return None if _try_lock(descriptor) else _pid(path)
    finally:
        os.close(descriptor)


def _pid(path: Path) -> int:
    try:
        return int((path / LOCK_FILE).read_text() or 0)
    except (OSError, ValueError):
        return 0
