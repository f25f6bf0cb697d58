"""The log files of a run, merged by time: JSON lines of each node, and what it wrote to standard error.

Standard error has no times: its lines stand where the file was last written, or where they are seen to come.
"""

import heapq
import math
import os
import time
from collections.abc import Iterator
from contextlib import closing
from io import BufferedReader
from pathlib import Path
from typing import Annotated

import msgspec

STDERR = "STDERR"
MAX_LINE = 1 << 20


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry; `logger` is who in the node said it, where that is not the node itself."""

    t: float
    node: str
    level: str
    text: str
    logger: str = ""
    traceback: str = ""


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a `.jsonl` as nodes write it."""

    t: Annotated[float, msgspec.Meta(ge=0, le=1e11)]
    level: str
    text: str
    node: str = ""
    traceback: str = ""


class _File:
    """A file that grows and may be replaced by a new one of its name: its whole lines, each once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BufferedReader | None = None
        self._partial = b""

    def lines(self, last: bool = False) -> Iterator[bytes]:
        """What came since the last call; with `last` also a line without an end."""
        yield from self._read()
        if self._replaced():
            yield from self._read()  # what was written before it was replaced, and after we looked
            if self._partial:
                yield self._take()
            self.close()
            yield from self._read()
        if last and self._partial:
            yield self._take()

    def _read(self) -> Iterator[bytes]:
        if self._file is None:
            try:
                self._file = self.path.open("rb")
            except OSError:
                return
        while piece := self._file.readline(MAX_LINE):
            self._partial += piece
            if piece.endswith(b"\n") or len(self._partial) >= MAX_LINE:
                yield self._take()

    def _take(self) -> bytes:
        line, self._partial = self._partial, b""
        return line

    def _replaced(self) -> bool:
        if self._file is None:
            return False
        try:
            now = self.path.stat()
        except OSError:
            return False
        return now.st_ino != os.fstat(self._file.fileno()).st_ino or now.st_size < self._file.tell()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class RunLogs:
    """All logs in a run's folder, or those of some nodes."""

    def __init__(self, folder: Path, nodes: tuple[str, ...] = ()) -> None:
        self.bad_lines = 0
        self._folder, self._nodes = folder, nodes
        self._files: dict[Path, _File] = {}

    def read(self, last: bool) -> Iterator[Entry]:
        """Everything so far, by time; `last`: nobody writes any more."""
        return heapq.merge(*(self._of(path, last, older=True) for path in self._paths()), key=lambda entry: entry.t)

    def more(self, last: bool) -> list[Entry]:
        """What came since then, by time."""
        return sorted((entry for path in self._paths() for entry in self._of(path, last, older=False)), key=lambda entry: entry.t)

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _paths(self) -> list[Path]:
        found = [path for suffix in ("jsonl", "stderr") for path in sorted(self._folder.glob(f"*.{suffix}"))]
        return [path for path in found if not self._nodes or path.stem in self._nodes]

    def _of(self, path: Path, last: bool, older: bool) -> Iterator[Entry]:
        file = self._files.setdefault(path, _File(path))
        if older:
            for part in sorted(path.parent.glob(f"{path.name}.*"), reverse=True):  # .2 is older than .1
                with closing(_File(part)) as rotated:
                    yield from self._entries(rotated, path, last=True)
        yield from self._entries(file, path, last)

    def _entries(self, file: _File, path: Path, last: bool) -> Iterator[Entry]:
        written = _written(file.path) if path.suffix == ".stderr" else math.nan
        for line in file.lines(last):
            if not line.strip():
                continue
            if path.suffix == ".stderr":
                yield Entry(t=written, node=path.stem, level=STDERR, text=line.decode(errors="replace").rstrip())
            elif (entry := parse(line, path.stem)) is not None:
                yield entry
            else:
                self.bad_lines += 1


def parse(line: bytes, node: str) -> Entry | None:
    """A line of a node's log; None when it is none."""
    try:
        found = msgspec.json.decode(line, type=_Line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    logger = found.node if found.node != node else ""
    return Entry(t=found.t, node=node, level=found.level, text=found.text, logger=logger, traceback=found.traceback)


def known_nodes(folder: Path) -> list[str]:
    """Who has a log there."""
    return sorted({path.stem for suffix in ("jsonl", "stderr") for path in folder.glob(f"*.{suffix}")})


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
