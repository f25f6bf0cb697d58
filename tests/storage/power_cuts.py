"""A writer whose every write and sync is noted, and the power that goes at random moments of it.

    python power_cuts.py FOLDER FIRST_SEED SEEDS [NAME]

Prints as JSON what was cut and what it cost; ends with 1 when a session was not what was promised. With NAME the disk ignores
every sync of files or folders of that name, as if the writer had made none: then promises must break.
"""

import json
import os
import random
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from disk_model import Disk, File
from lmdb_calls import Call, LmdbCalls
from numbered import message, read_all

from storage.errors import SessionNotFound, StorageError
from storage.verify import check
from storage.writer import SessionWriter

NUMBERS = [*range(40), *range(43, 70)]


class Notes:
    """All operations under a folder, in order, and between them what was announced."""

    def __init__(self, root: Path) -> None:
        self.root = str(root)
        self.log: list[tuple[Any, ...]] = []
        self.on = False
        self._sync, self._pwrite = os.fsync, os.pwrite
        LmdbCalls(self._call)
        sys.addaudithook(self._event)
        os.fsync, os.pwrite = self._fsync, self._write  # type: ignore[assignment]

    def say(self, *words: Any) -> None:
        if self.on:
            self.log.append(words)

    def _ours(self, path: str) -> bool:
        return self.on and path.startswith(self.root) and not path.endswith((".lock", "lock.mdb"))

    def _call(self, call: Call) -> None:
        if self._ours(call.file):
            self.say("file", call.file)
            self.say(call.name, call.file, *((call.offset, call.data, call.synced) if call.name == "write" else ()))

    def _event(self, name: str, args: tuple[Any, ...]) -> None:
        if not self.on or name not in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "open"):
            return
        path = os.path.abspath(args[0]) if isinstance(args[0], str | os.PathLike) else ""
        if not self._ours(path):
            return
        if name == "os.mkdir":
            if os.path.isdir(os.path.dirname(path)):  # told before it is tried
                self.say("folder", path)
        elif name == "os.rename":
            self.say("rename", path, os.path.abspath(args[1]))
        elif name == "open":
            if args[2] & os.O_CREAT:
                self.say("file", path)
        else:
            self.say("remove", path)

    def _fsync(self, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self._ours(path):
            if not os.path.isdir(path):
                self.say("write", path, 0, Path(path).read_bytes(), False)
            self.say("sync", path)
        self._sync(descriptor)

    def _write(self, descriptor: int, data: bytes, offset: int) -> int:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self._ours(path):
            self.say("write", path, offset, data, False)
        return self._pwrite(descriptor, data, offset)


def record(notes: Notes, path: Path) -> None:
    """A session in several segments, with a gap; left, taken up again, and left by a close."""
    for first, last in ((0, 40), (43, 70)):
        with SessionWriter.create(path, map_bytes=1 << 17, commit_events=6, resume=True) as writer:
            told = 0
            for seq in range(first, last):
                writer.append(message(seq))
                if writer.commits > told:
                    told = writer.commits
                    notes.say("announced", writer.committed.events, [(gap.first, gap.last) for gap in writer.committed.gaps])
            writer.close()
            notes.say("announced", writer.committed.events, [(gap.first, gap.last) for gap in writer.committed.gaps])


def judge(path: Path, events: int, gaps: list[tuple[int, int]], go_on: bool) -> int:
    """How many events are there; AssertionError when that is not what was promised."""
    try:
        there, listed = read_all(path)
    except SessionNotFound:
        assert events == 0, f"no session, {events} were announced"
        return 0
    assert there == NUMBERS[: len(there)], there
    assert len(there) >= events, f"{len(there)} events, {events} were announced"
    assert listed == (gaps or ([(40, 42)] if len(there) > 40 else []))
    report = check(path)
    assert report.verdict == "ok" and report.events_checked == len(there), report
    if go_on:
        with SessionWriter.create(path, resume=True) as writer:
            for seq in NUMBERS[len(there) :][:3]:
                writer.append(message(seq))
        assert check(path).verdict == "ok"
    return len(there)


def main() -> int:
    folder, first, count = Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3])
    folder.mkdir(exist_ok=True)
    disk_root, target = folder / "disk", folder / "after"
    disk_root.mkdir()
    notes = Notes(disk_root)
    notes.on = True
    record(notes, disk_root / "s")
    notes.on = False
    log = notes.log
    assert all(_same(disk_root, file) for file in _whole(disk_root, log)), "a way to the disk was missed"
    forget = sys.argv[4:]
    found: Counter[str] = Counter(operations=len(log), announcements=sum(1 for name, *_ in log if name == "announced"))
    broken: list[str] = []
    for seed in range(first, first + count):
        chance = random.Random(seed)
        disk, events, gaps = Disk(disk_root), 0, []
        for name, *rest in log[: chance.randint(0, len(log))]:
            if name == "announced":
                events, gaps = rest
            elif name != "sync" or os.path.basename(rest[0]) not in forget:
                disk.do(name, *rest)
        shutil.rmtree(target, ignore_errors=True)
        cost = disk.cut(chance, target)
        found.update(
            cuts=1, names=cost.names, dropped=cost.dropped, torn=cost.torn, cuts_that_cost=bool(cost.dropped or cost.torn or cost.names)
        )
        try:
            there = judge(target / "s", events, gaps, go_on=chance.random() < 0.2)
            found.update(kept_events=there, more_than_announced=there > events)
        except (AssertionError, StorageError) as error:
            broken.append(f"seed {seed}: {str(error)[:300]}")
    sys.stdout.write(json.dumps({**found, "broken": broken[:10], "broken_count": len(broken)}))
    return 1 if broken else 0


def _whole(root: Path, log: list[tuple[Any, ...]]) -> list[tuple[Path, bytes]]:
    """Every LMDB file as the notes tell it."""
    disk = Disk(root)
    for name, *rest in log:
        if name != "announced":
            disk.do(name, *rest)
    files = []
    for path in root.rglob("data.mdb"):
        file = disk.find(str(path))
        assert isinstance(file, File)
        file.sync()
        files.append((path, bytes(file.kept)))
    assert len(files) > 3
    return files


def _same(root: Path, file: tuple[Path, bytes]) -> bool:
    return file[0].read_bytes() == file[1]


if __name__ == "__main__":
    sys.exit(main())
