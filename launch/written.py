"""What a node's process has written: its log and its standard error, kept bounded, read for the last words."""

import json
import os
from pathlib import Path
from typing import Any

TAIL_BYTES = 64 << 10
MAX_STDERR_BYTES = 4 << 20
"""A standard error file that grows beyond this becomes `<file>.1`; one older is kept."""


class Written:
    """Of one process, apart from what earlier processes of its node have written into the same files."""

    def __init__(self, run_dir: Path, name: str) -> None:
        self.log_path = run_dir / "logs" / f"{name}.jsonl"
        self.stderr_path = run_dir / "logs" / f"{name}.stderr"
        self._from = {path: _size(path) for path in (self.log_path, self.stderr_path)}

    def log(self) -> list[dict[str, Any]]:
        """Its newest log records."""
        records = []
        for line in self._tail(self.log_path):
            try:
                record = json.loads(line)
            except ValueError:  # cut at its start, or by the death of the process
                continue
            if isinstance(record, dict):
                records.append(record)
        return records

    def stderr(self) -> list[str]:
        """Its newest lines on standard error."""
        return self._tail(self.stderr_path)

    def last_words(self) -> str:
        """The last error that it logged, or its last line on standard error."""
        errors = [str(record.get("text", "")) for record in self.log() if record.get("level") in ("ERROR", "CRITICAL")]
        said = errors[-1:] or self.stderr()[-1:]
        return said[0].strip()[:300] if said else ""

    def bound(self, limit: int = MAX_STDERR_BYTES) -> None:
        """Move the newest `limit` bytes of a standard error that has grown too large to `<file>.1`.

        The process goes on writing into the file that is empty now; what it writes in between is lost.
        """
        path = self.stderr_path
        if (size := _size(path)) <= limit:
            return
        with path.open("rb") as file:
            file.seek(size - limit)
            older = file.read(limit)
        os.truncate(path, 0)
        self._from[path] = 0
        path.with_name(f"{path.name}.1").write_bytes(older)

    def _tail(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                begin = self._from[path] if self._from[path] <= size else 0  # it has begun a new file since
                file.seek(max(begin, size - TAIL_BYTES))
                return file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
