"""Everything that can be wrong with a session, by name: one line that says what, where and what to try."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar


class StorageError(Exception):
    """Base of everything this room raises; `exit_code` is what a command or node ends with."""

    exit_code: ClassVar[int] = 1


class BadName(StorageError):
    """A session name that cannot be a folder everywhere."""

    exit_code = 2


class SessionNotFound(StorageError):
    """No session at this path."""

    exit_code = 2


class SessionExists(StorageError):
    """A new session was asked for where one is."""

    exit_code = 2


class SessionLocked(StorageError):
    """Another process writes this session."""


class SessionPinned(StorageError):
    """A pinned session is not deleted, nor one of which there is a split."""


class SourceChanged(StorageError):
    """A split whose source is not what it was."""


class EditRefused(StorageError):
    """An edit or a split that cannot be made of this session."""

    exit_code = 2


class DiskFull(StorageError):
    """No room for more events; what was committed before stays valid."""

    exit_code = 4


class BadMessage(StorageError):
    """A message that the record does not carry."""


class EventNotFound(StorageError):
    """There is no such event in this session."""


class CorruptSession(StorageError):
    """The files of a session are not what was written."""


class CorruptEvent(CorruptSession):
    """One event is not what was written. `event` is its number."""

    def __init__(self, path: Path, event: int, why: str) -> None:
        super().__init__(f"event {event} of {path} is damaged: {why}; `toddle sessions verify {path.name}` lists every damaged event")
        self.event = event
        self.why = why


class ImportProblem(StorageError):
    """Foreign data that cannot become a session as it is."""


class ExportProblem(StorageError):
    """A session that cannot be written in a foreign format as it is."""


class MissingPackage(StorageError):
    """What was asked for needs an optional package that is not installed."""

    exit_code = 2


@contextmanager
def refused_by_system(session: str) -> Iterator[None]:
    """Inside, an OSError becomes DiskFull or StorageError about the writing of `session`."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        raise (DiskFull if full else StorageError)(f"session {session} cannot be written: {error}; check the disk") from None
