"""What importers and exporters share: what is left out, what is told in the end, how far they are."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from storage.errors import ExportProblem, ImportProblem
from storage.paths import sync_folder

Tell = Callable[[int, int], None]
"""Called between two steps with those done and all: shows progress. May raise KeyboardInterrupt: nothing is half done then."""
MAX_NOTES = 1000
MAX_FPS = 10_000
MOST = 1 << 62
"""Of steps and of times in ns; a message holds no more than twice as much."""
MAX_REFUSED = 20
"""Lines of an error; all others are counted."""


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is left out, and why. `where` names file and place for people."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a recording: every step is in the session, or in `skipped` with its reason.

    `notes` are lines about what was taken as it is and is strange. `resumed_at`: so many frames were there already.
    """

    session: str
    episodes: int
    frames: int
    rate_hz: float
    rate_from: str
    skipped: list[Skipped]
    notes: list[str]
    resumed_at: int = 0


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was written. `notes` as in ImportReport: also what the format has no place for."""

    path: str
    episodes: int
    frames: int
    skipped: list[Skipped]
    notes: list[str]


class Notes:
    """Lines to tell; of more than `MAX_NOTES` the rest is counted."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._more = 0

    def add(self, line: str) -> None:
        if len(self._lines) < MAX_NOTES:
            self._lines.append(line)
        else:
            self._more += 1

    def lines(self) -> list[str]:
        return self._lines + ([f"and {self._more} more of this kind"] if self._more else [])


class LeftOut:
    """What cannot be taken of `path`: all is counted, the first thousand are kept. With `strict` the first one is an error."""

    def __init__(self, path: object, *, strict: bool = False, kind: type[ImportProblem | ExportProblem] = ImportProblem) -> None:
        self.count = 0
        self._path = path
        self._strict = strict
        self._kind = kind
        self._kept: list[Skipped] = []

    def add(self, bad: Skipped) -> None:
        """Raises ImportProblem, or what `kind` says, where everything is wanted."""
        self.count += 1
        if len(self._kept) < MAX_NOTES:
            self._kept.append(bad)
        if self._strict:
            self.refuse()

    def refuse(self) -> None:
        """Raise the error of all, a line each, if there are any."""
        if self.count > 1:
            more = [f"and {self.count - MAX_REFUSED} more"] if self.count > MAX_REFUSED else []
            lines = "".join(f"\n  {line}" for line in [*self._kept[:MAX_REFUSED], *more])
            raise self._kind(f"{self._path} has {self.count} faults; --skip-bad takes what is sound and lists the rest{lines}")
        if self.count:
            raise self._kind(f"{self._kept[0]}; --skip-bad takes what is sound and lists the rest")

    def told(self) -> list[Skipped]:
        more = self.count - len(self._kept)
        return self._kept + ([Skipped(where="and more", why=f"{more} others, which are not listed")] if more else [])


def nothing(path: object, left_out: LeftOut) -> ImportProblem:
    """The error of an import of which nothing is left."""
    return ImportProblem(f"{path} has nothing to import" + "".join(f": {bad}" for bad in left_out.told()[:1]))


def checked_fps(fps: float | None) -> float | None:
    """As it was given. Raises ImportProblem when it is no rate."""
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise ImportProblem(f"{fps:g} frames per second cannot be: give --fps more than 0, at most {MAX_FPS}")
    return fps


def whole(value: Any, what: str) -> int:
    """A number of others as a step or a time. Raises ValueError where it cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not -MOST <= value <= MOST:
        raise ValueError(f"{what} is {str(value)[:40]}, that cannot be")
    return round(value)


def quiet(done: int, total: int) -> None:
    """Tells nobody."""


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """The path to write a file or folder at, not there yet; at the end it becomes `target`, or nothing is left. Raises ExportProblem."""
    if target.exists():
        raise ExportProblem(f"{target} exists: delete it, or choose another place")
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if target.exists():
            raise ExportProblem(f"{target} appeared meanwhile: choose another place")
        part.rename(target)
        sync_folder(target.parent)
    except OSError as error:
        raise ExportProblem(f"{target} cannot be written: {error.strerror or error}; is there room, and is the folder writable?") from None
    finally:
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)
