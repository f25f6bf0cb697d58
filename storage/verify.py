"""Is every byte what was written? Reads a whole session and says everything that is wrong, not only the first.

    python -m storage.verify sessions/walk

The pages of a segment are judged before LMDB opens it, and all of it happens in a process of its own: a damaged page can
end a process that walks over it. A process that ended is damage. What was found sound is read once more, as readers do.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal

import lmdb
import msgspec

from protocol.messages import Gap
from storage.announced import Announced, check_announced, read_announced
from storage.arrays import ArrayCodec
from storage.books import Books
from storage.editing.verifysplit import check_split
from storage.errors import CorruptEvent, CorruptSession, StorageError
from storage.header import read_header
from storage.index import index_keys
from storage.load import end_of, first_of, rows_of
from storage.lock import writer_pid
from storage.paths import SEGMENTS
from storage.record import Event, decode_record
from storage.segment import NUMBER, Segment, page_problems, segment_folders
from storage.spans import joined
from storage.views import open_session

MAX_TOLD = 1000
"""Damaged events and index entries beyond this many are counted, not listed."""


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """One damaged event, in which segment, and why."""

    event: int
    segment: str
    why: str


class Report(msgspec.Struct, kw_only=True):
    """What was found. `holes` are missing numbers that no gap explains; `problems` are damage that is no event's."""

    session: str
    events_checked: int = 0
    corrupt_count: int = 0
    corrupt: list[Damage] = []
    index_mismatches: list[str] = []
    holes: list[Gap] = []
    problems: list[str] = []
    gaps: list[Gap] = []

    @property
    def verdict(self) -> Literal["ok", "damaged"]:
        return "damaged" if self.corrupt_count or self.index_mismatches or self.holes or self.problems else "ok"

    @property
    def exit_code(self) -> int:
        """0 sound and complete, 1 damaged, 3 sound with known gaps."""
        if self.verdict == "damaged":
            return 1
        return 3 if self.gaps else 0


def verify(path: Path) -> Report:
    """Check the session at `path`; events of its last commit at least. Raises SessionNotFound."""
    read_header(path)
    child = subprocess.run([sys.executable, "-m", "storage.verify", str(path)], capture_output=True, check=False)
    try:
        if child.returncode == 0:  # what a process said before it died is worth nothing
            return msgspec.json.decode(child.stdout, type=Report)
    except msgspec.MsgspecError:
        pass
    words = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no words"]
    how = f"exit status {child.returncode}: {words[0][:200]}"
    text = f"reading {path / SEGMENTS} broke the reading process ({how}); restore the session from a copy"
    pages = [problem for folder in segment_folders(path) for problem in _page_problems(folder)]
    return Report(session=path.name, problems=[text, *pages])


def check(path: Path) -> Report:
    """The same inside this process. Raises SessionNotFound."""
    header = read_header(path)
    if header.split:
        found = check_split(path)
        return Report(session=header.name, events_checked=found.events, problems=found.problems, gaps=found.gaps)
    audit = _Audit(path, ArrayCodec(header.codecs), Report(session=header.name))
    # asked before anything is read: what a writer commits meanwhile is no surprise then
    written = writer_pid(path) is not None
    announced = Announced()
    with audit.finding():
        announced = read_announced(path)
    folders = segment_folders(path)
    for folder in folders:
        with audit.finding():
            audit.look_at(folder, frozen=not (written and folder == folders[-1]))
    audit.compare_books()
    with audit.finding():
        check_announced(path, announced, audit.books.reached())
    return audit.report


def main() -> int:
    """Entry point of the reading process: the report as JSON on stdout."""
    path = Path(sys.argv[1])
    report = check(path)
    if report.verdict == "ok":
        report.problems += _read_again(path, report.events_checked)
    sys.stdout.buffer.write(msgspec.json.encode(report))
    return 0


class _Audit:
    """One look through a session, segment by segment: `books` are those on disk, `counted` those that its events make."""

    def __init__(self, path: Path, codec: ArrayCodec, report: Report) -> None:
        self.path = path
        self.codec = codec
        self.report = report
        self.books = Books()
        self.counted = Books()
        self.entries: Counter[str] = Counter()
        self.next = 0
        self.seen: dict[tuple[str, str], list[tuple[int, int]]] = {}
        """(topic, run) to the spans of numbers that were read."""

    @contextmanager
    def finding(self) -> Iterator[None]:
        """An error inside is a finding."""
        try:
            yield
        except StorageError as error:
            self.report.problems.append(str(error))

    def look_at(self, folder: Path, *, frozen: bool) -> None:
        """Look at all of a segment; when it is not `frozen`, at what is committed of it. Raises StorageError."""
        pages = _page_problems(folder) if frozen else []  # pages that are being written change under one's eyes
        self.report.problems += pages
        segment = Segment(folder)
        try:
            first, end = self._first(segment), self._end(segment)
            self.entries.clear()
            bad = self.report.corrupt_count
            self._events(segment, end, indexes=not pages)
            if frozen and not pages and bad == self.report.corrupt_count:
                self._compare_entries(segment, self.entries | Counter(events=end - first))
        finally:
            segment.close()

    def _first(self, segment: Segment) -> int:
        """The segment's first event; that events are missing before it is a finding."""
        first = first_of(segment, self.next)
        if first > self.next:
            self.report.problems.append(
                f"events {self.next} to {first - 1} of {self.path} cannot be reached, segment {segment.path.name} begins behind them"
            )
            self.next = first
        return first

    def _end(self, segment: Segment) -> int:
        """One more than its last event; its books are taken in. Raises CorruptSession."""
        try:
            rows = rows_of(segment)
        except CorruptSession as error:
            self.report.problems.append(str(error))
            return end_of(segment)
        for row in rows:
            self.books.put(row)
        return self.books.state.events  # of these rows: a writer may be further by now

    def _events(self, segment: Segment, end: int, *, indexes: bool) -> None:
        while self.next < end:
            with segment.env.begin(buffers=True) as txn:
                self._stretch(segment, txn, end, indexes)

    def _stretch(self, segment: Segment, txn: "lmdb.Transaction[memoryview]", end: int, indexes: bool) -> None:
        """Look at events up to one whose page LMDB cannot read: with that its transaction is over."""
        while self.next < end:
            number, self.next = self.next, self.next + 1
            self.report.events_checked += 1
            try:
                record = txn.get(NUMBER.pack(number), db=segment.table("events"))
                if record is None:
                    raise CorruptEvent(self.path, number, "it is not there")
                event = decode_record(number, record, self.codec, self.path)
                if indexes:
                    self._count(segment, txn, event, len(record))
            except lmdb.Error as error:
                self._damage(segment, CorruptEvent(self.path, number, f"its pages cannot be read: {error}"))
                return
            except CorruptEvent as error:
                self._damage(segment, error)

    def _damage(self, segment: Segment, error: CorruptEvent) -> None:
        self.report.corrupt_count += 1
        if len(self.report.corrupt) < MAX_TOLD:
            self.report.corrupt.append(Damage(event=error.event, segment=segment.path.name, why=error.why))

    def _count(self, segment: Segment, txn: "lmdb.Transaction[memoryview]", event: Event, stored: int) -> None:
        """Take a sound event into the books that its session should have, and look for it in every index."""
        envelope, number = event.message.envelope, event.number
        spans = self.seen.setdefault((envelope.topic, envelope.run), [])
        if spans and spans[-1][1] + 1 == envelope.seq:
            spans[-1] = (spans[-1][0], envelope.seq)
        else:
            spans.append((envelope.seq, envelope.seq))
        self.counted.add(event.message, stored)
        stream = self.books.streams.get((envelope.topic, envelope.run))
        if stream is None:
            raise CorruptSession(f"the books do not know {envelope.topic} of run {envelope.run}, event {number} is of it")
        for table, key in index_keys(envelope, number, stream.id):
            self.entries[table] += 1
            found = txn.get(key, db=segment.table(table))
            if found is None or (table == "seq" and bytes(found) != NUMBER.pack(number)):
                self._mismatch(f"event {number} is not in table {table} of {segment.path}")

    def _compare_entries(self, segment: Segment, expected: Counter[str]) -> None:
        with segment.read() as txn:
            for table, count in expected.items():
                there = txn.stat(segment.table(table))["entries"]
                if there != count:
                    self._mismatch(f"table {table} of {segment.path} has {there} entries, expected {count}")

    def _mismatch(self, text: str) -> None:
        if len(self.report.index_mismatches) < MAX_TOLD:
            self.report.index_mismatches.append(text)

    def compare_books(self) -> None:
        """Compare the books on disk with what was read; missing numbers must be gaps."""
        report, books, counted = self.report, self.books, self.counted
        report.gaps = books.gaps()
        if report.corrupt_count or report.problems:
            return  # numbers of damaged events are unknown: no word on holes
        for key, stream in books.streams.items():
            there = counted.streams.get(key)
            count, stored = (there.count, there.bytes) if there else (0, 0)
            if (count, stored) != (stream.count, stream.bytes):
                told = f"{stream.count} events of {stream.bytes} bytes of {stream.topic}, run {stream.run}"
                report.problems.append(f"the books of {self.path} count {told}: there are {count} of {stored} bytes")
        report.problems += [
            f"episode {number} of {self.path} is another in the books than in the log"
            for number in sorted(books.episodes.keys() | counted.episodes.keys())
            if books.episodes.get(number) != counted.episodes.get(number)
        ]
        for (topic, run), stream in books.streams.items():
            known = joined([*self.seen.get((topic, run), []), *stream.gaps, *stream.cut])
            for (_, before), (after, _) in pairwise(known):
                report.holes.append(Gap(topic=topic, run=run, first=before + 1, last=after - 1))
            if known and known[-1][1] != stream.last_seq:
                report.holes.append(Gap(topic=topic, run=run, first=known[-1][1] + 1, last=stream.last_seq))


def _page_problems(folder: Path) -> list[str]:
    return [f"segment {folder.name}: {text}" for text in page_problems(folder)]


def _read_again(path: Path, events: int) -> list[str]:
    """What a reader finds wrong with a session of which `events` were found sound."""
    try:
        with open_session(path) as reader:
            given = sum(1 for _ in zip(range(events), reader.numbered(), strict=False))
            reader.info()
    except StorageError as error:
        return [f"found sound, but a reader says: {error}"]
    return [] if given == events else [f"found sound, but a reader gets {given} of {events} events of {path}"]


if __name__ == "__main__":
    sys.exit(main())
