"""Makes room: deletes whole oldest sessions, of one robot driver or of all, above a limit in bytes."""

import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec

from storage.editing.making import sweep_unfinished
from storage.errors import SessionPinned, StorageError
from storage.header import read_header
from storage.lock import SessionLock, writer_pid
from storage.paths import disk_bytes, session_names
from storage.splitfile import splits_of

_TRASH = ".deleting-"


class Deleted(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is gone, and the bytes it took."""

    name: str
    bytes: int


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted, and the bytes that the sessions that count still take: above the limit when no more may go."""

    deleted: list[Deleted]
    bytes: int


class _Candidate(msgspec.Struct, frozen=True):
    name: str
    created: str
    bytes: int
    free_to_go: bool


def retain(root: Path, driver: str | None, max_bytes: int, keep: Collection[str] = ()) -> Retained:
    """Delete the oldest sessions of `driver` (None: of all robots and none) under `root` until they take at most `max_bytes`.

    Never deleted: sessions named in `keep`, pinned, open or derived ones, and sources of splits; they count all the same.
    """
    sweep(root)
    sessions = sorted(_candidates(root, driver, keep), key=lambda session: session.created)
    total = sum(session.bytes for session in sessions)
    deleted: list[Deleted] = []
    for session in sessions:
        if total <= max_bytes:
            break
        if not session.free_to_go:
            continue
        try:
            delete_session(root / session.name)
        except (StorageError, OSError):  # the source of a split; opened or pinned since we looked; or not ours to delete
            continue
        total -= session.bytes
        deleted.append(Deleted(name=session.name, bytes=session.bytes))
    return Retained(deleted=deleted, bytes=total)


def delete_session(path: Path) -> int:
    """Delete one session, whole; the bytes it took. Raises SessionPinned, SessionLocked, SessionNotFound."""
    check_deletable(path)
    size = disk_bytes(path)
    with SessionLock(path):
        check_deletable(path)  # nobody pins it now, nor makes a split of it
        # one rename makes it no session any more; a kill in the middle leaves a folder that `sweep` takes
        trash = path.with_name(_TRASH + path.name)
        shutil.rmtree(trash, ignore_errors=True)
        path.rename(trash)
        shutil.rmtree(trash)
    return size


def check_deletable(path: Path) -> None:
    """Raise SessionPinned when the session is pinned or there is a split of it; SessionNotFound."""
    if read_header(path).pinned:
        raise SessionPinned(f"session {path.name} is pinned: `toddle sessions unpin {path.name}` first")
    splits = splits_of(path)
    if splits:
        more = f" and {len(splits) - 1} more" if len(splits) > 1 else ""
        raise SessionPinned(f"session {path.name} is the source of split {splits[0]}{more}: delete the splits first")


def sweep(root: Path) -> None:
    """Remove what a deletion, or the making of a session, that was killed left."""
    sweep_unfinished(root)
    for trash in root.glob(_TRASH + "*"):
        shutil.rmtree(trash, ignore_errors=True)


def _candidates(root: Path, driver: str | None, keep: Collection[str]) -> list[_Candidate]:
    out: list[_Candidate] = []
    for name in session_names(root):
        path = root / name
        try:
            header = read_header(path)
            if driver is not None and (header.robot is None or header.robot.driver != driver):
                continue
            free_to_go = name not in keep and not header.pinned and not header.derived_from and writer_pid(path) is None
            out.append(_Candidate(name, header.created, disk_bytes(path), free_to_go))
        except (StorageError, OSError):  # damaged or just being made: not ours to judge
            continue
    return out
