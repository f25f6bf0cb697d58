"""What was announced as committed last, in a small file beside the segments.

LMDB has two roots and takes the newer one that it can read: when the newer one is damaged, or a segment is gone, what is
left is an older state that is whole in itself. Only a second witness tells. It is written after each commit and never
synced: so it may be behind what is on disk, but never ahead, unless something was lost.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

import crc32c

from storage.errors import CorruptSession

ANNOUNCED_FILE = "announced"
_BODY = struct.Struct(">QQ")
_CRC = struct.Struct(">I")


class Announced(NamedTuple):
    """The number of the last commit, and how many events there were then."""

    commit: int = 0
    events: int = 0


class Announcer:
    """Writes the file of the session at `path`, from construction to `close`. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path / ANNOUNCED_FILE, os.O_RDWR | os.O_CREAT, 0o644)

    def write(self, said: Announced) -> None:
        body = _BODY.pack(*said)
        os.pwrite(self._descriptor, body + _CRC.pack(crc32c.crc32c(body)), 0)

    def close(self) -> None:
        """More than once is fine."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_announced(path: Path) -> Announced:
    """Of the session at `path`; zeros where nothing is known. Raises CorruptSession."""
    file = path / ANNOUNCED_FILE
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return Announced()
    if not data.strip(b"\0"):  # a power cut before the system wrote it
        return Announced()
    body, crc = data[: _BODY.size], data[_BODY.size :]
    if crc != _CRC.pack(crc32c.crc32c(body)):
        raise CorruptSession(f"{file} is not what was written: nobody knows how much was announced; delete it to do without")
    return Announced(*_BODY.unpack(body))


def check_announced(path: Path, announced: Announced, there: Announced) -> None:
    """Raise CorruptSession when the session at `path` has less than was announced."""
    if there.commit < announced.commit or there.events < announced.events:
        raise CorruptSession(
            f"{path} ends with event {there.events - 1} of commit {there.commit}, and {announced.events} events up to commit "
            f"{announced.commit} were announced: the rest is lost; `toddle sessions verify {path.name}` says what is sound"
        )
