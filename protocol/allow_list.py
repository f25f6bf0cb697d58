"""Who may connect, as a node asks while it runs; see `protocol.keys` for the folder."""

import os
from collections.abc import Callable
from pathlib import Path

from protocol.keys import ALLOWED, REVOKED, Listed, public_keys


class AllowList:
    """Who may connect, as it is on disk now."""

    def __init__(self, folder: Path) -> None:
        self._folders = (folder / ALLOWED, folder / REVOKED)
        self._seen: object = None
        self._names: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self.problem = ""

    def look(self) -> None:
        """Read again what has changed since the last look; a list that cannot be read lets nobody in."""
        self.problem = ""
        seen = [self._signature(folder) for folder in self._folders]
        if seen != self._seen or self.problem:
            allowed, revoked = ({one.key: one.name for one in self._entries(folder)} for folder in self._folders)
            self._seen, self._names = seen, (allowed, revoked)

    def allowed(self, key: str) -> str | None:
        """The name by which a key is allowed."""
        return self._names[0].get(key)

    def revoked(self, key: str) -> str | None:
        """The name by which a key was allowed once."""
        return self._names[1].get(key)

    def _signature(self, folder: Path) -> list[tuple[str, int, int, int]]:
        return self._guarded(lambda: [_stamp(entry) for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)])

    def _entries(self, folder: Path) -> list[Listed]:
        listed = self._guarded(lambda: public_keys(folder))
        self.problem = next((f"{folder / one.name}.pub: {one.problem}" for one in listed if one.problem), self.problem)
        return [one for one in listed if not one.problem]

    def _guarded[T](self, read: Callable[[], list[T]]) -> list[T]:
        try:
            return read()
        except FileNotFoundError:
            return []
        except OSError as error:
            self.problem = f"{error.filename}: {error.strerror}: nobody is let in"
            return []


def _stamp(entry: os.DirEntry[str]) -> tuple[str, int, int, int]:
    found = entry.stat()
    return entry.name, found.st_ino, found.st_mtime_ns, found.st_size
