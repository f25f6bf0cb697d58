"""What importers and exporters share: what is left out, what is told in the end, how far they are."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from storage.errors import ExportProblem, ImportProblem
from storage.paths import sync_folder

Tell = Callable[[int, int], None]
"""Called between two steps with those done and all: shows progress. May raise KeyboardInterrupt: nothing is half done then."""
MAX_NOTES = 1000


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


def quiet(done: int, total: int) -> None:
    """Tells nobody."""


def refused(skipped: list[Skipped], kind: type[ImportProblem | ExportProblem] = ImportProblem) -> ImportProblem | ExportProblem:
    """The error of a strict import or export that met these."""
    more = f" and {len(skipped) - 1} more" if len(skipped) > 1 else ""
    return kind(f"{skipped[0]}{more}; --skip-bad takes the rest and lists what was left out")


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """The path to write a file or folder at, not there yet; at the end it becomes `target`, or nothing is left. Raises ExportProblem."""
    part = target.with_name(f".{target.name}.part-{os.getpid()}")
    if target.exists():
        raise ExportProblem(f"{target} exists: delete it, or choose another place")
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
