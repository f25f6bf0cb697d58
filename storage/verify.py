"""Is every byte what was written? Reads a whole session and says everything that is wrong, not only the first.

    python -m storage.verify sessions/walk

A damaged page can make LMDB crash, so `verify` reads in a process of its own and reports a crash as damage.
"""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import lmdb
import msgspec

from protocol.messages import Gap
from storage.arrays import ArrayCodec
from storage.books import Books, joined
from storage.errors import CorruptEvent, CorruptSession, StorageError
from storage.header import read_header
from storage.index import index_keys
from storage.load import books_of, close_segments, open_segments
from storage.lock import writer_pid
from storage.paths import SEGMENTS
from storage.readahead import ReadAhead
from storage.record import decode_record
from storage.segment import NUMBER, Segment

MAX_TOLD = 1000
"""Damaged events beyond this many are counted, not listed."""
AHEAD_EVENTS = 64
"""Asked for before they are read."""


Seen = dict[tuple[str, str], list[tuple[int, int]]]
"""(topic, run) to the spans of numbers that were read."""


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
        return msgspec.json.decode(child.stdout, type=Report)
    except msgspec.MsgspecError:
        words = child.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no words"]
        how = f"exit status {child.returncode}: {words[0][:200]}"
        text = f"reading {path / SEGMENTS} broke the reading process ({how}); restore the session from a copy"
        return Report(session=path.name, problems=[text])


def check(path: Path) -> Report:
    """The same inside this process. Raises SessionNotFound."""
    header = read_header(path)
    report = Report(session=header.name)
    codec = ArrayCodec(header.codecs)
    seen: Seen = {}
    try:
        segments = open_segments(path)
    except StorageError as error:
        report.problems.append(str(error))
        return report
    try:
        books = books_of(segments)
        report.gaps = books.gaps()
        # while somebody writes, the log runs ahead of the books that were just read: up to their last event
        limit = None if writer_pid(path) is None else books.state.events
        for segment in segments:
            if segment.ready():
                _check_segment(path, segment, books, codec, report, seen, limit)
    except StorageError as error:
        report.problems.append(str(error))
    else:
        _check_books(path, books, report, seen)
    finally:
        close_segments(segments)
    return report


def _check_segment(path: Path, segment: Segment, books: Books, codec: ArrayCodec, report: Report, seen: Seen, limit: int | None) -> None:
    entries = {"seq": 0, "step": 0, "time": 0, "kind": 0}
    sound = True
    with segment.read() as txn:
        for key, record in _log(segment, txn):
            expected = report.events_checked
            if expected == limit:
                return
            report.events_checked += 1
            try:
                number = int(NUMBER.unpack(key)[0]) if len(key) == NUMBER.size else -1
                if number != expected:
                    raise CorruptEvent(path, expected, f"event {number} stands in its place")
                message = decode_record(number, record, codec, path).message
            except CorruptEvent as error:
                sound = False
                _damage(report, error, segment)
                continue
            envelope = message.envelope
            spans = seen.setdefault((envelope.topic, envelope.run), [])
            if spans and spans[-1][1] + 1 == envelope.seq:
                spans[-1] = (spans[-1][0], envelope.seq)
            else:
                spans.append((envelope.seq, envelope.seq))
            stream = books.streams.get((envelope.topic, envelope.run))
            if stream is None:
                raise CorruptSession(f"the books do not know {envelope.topic} of run {envelope.run}, event {number} is of it")
            for table, index_key in index_keys(envelope, number, stream.id):
                entries[table] += 1
                if not _points(segment, txn, table, index_key, number):
                    report.index_mismatches.append(f"event {number} is not in table {table} of {segment.path}")
        if sound:
            for table, count in entries.items():
                there = txn.stat(segment.table(table))["entries"]
                if there != count:
                    report.index_mismatches.append(f"table {table} of {segment.path} has {there} entries, expected {count}")


def _log(segment: Segment, txn: "lmdb.Transaction[memoryview]") -> Iterator[tuple[memoryview, memoryview]]:
    """Keys and records of a segment, in order, asked for ahead."""
    table, ahead = segment.table("events"), ReadAhead()
    cursor = iter(txn.cursor(db=table))
    for key, record in cursor:
        yield key, record
        (number,) = NUMBER.unpack(key) if len(key) == NUMBER.size else (0,)
        with ahead.of(txn, table, range(number + 1, number + 1 + AHEAD_EVENTS)):
            yield from itertools.islice(cursor, AHEAD_EVENTS)


def _damage(report: Report, error: CorruptEvent, segment: Segment) -> None:
    report.corrupt_count += 1
    if len(report.corrupt) < MAX_TOLD:
        report.corrupt.append(Damage(event=error.event, segment=segment.path.name, why=error.why))


def _points(segment: Segment, txn: "lmdb.Transaction[memoryview]", table: str, key: bytes, number: int) -> bool:
    found = txn.get(key, db=segment.table(table))
    return found is not None and (table != "seq" or bytes(found) == NUMBER.pack(number))


def _check_books(path: Path, books: Books, report: Report, seen: Seen) -> None:
    """Compare the books with what was read; missing numbers must be gaps."""
    if books.state.events != report.events_checked:
        report.problems.append(f"the books of {path} count {books.state.events} events, {report.events_checked} are there")
    if report.corrupt_count:
        return  # numbers of damaged events are unknown: no word on holes
    for (topic, run), stream in books.streams.items():
        missing = joined([*seen.get((topic, run), []), *stream.gaps])
        for (_, before), (after, _) in itertools.pairwise(missing):
            report.holes.append(Gap(topic=topic, run=run, first=before + 1, last=after - 1))
        if missing and missing[-1][1] != stream.last_seq:
            report.holes.append(Gap(topic=topic, run=run, first=missing[-1][1] + 1, last=stream.last_seq))


def main() -> int:
    """Entry point of the reading process: the report as JSON on stdout."""
    sys.stdout.buffer.write(msgspec.json.encode(check(Path(sys.argv[1]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
