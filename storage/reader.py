"""Reads a session, also while it is written.

    with SessionReader(root / "walk") as reader:
        for message in reader.events(kinds=["frame", "action"]):
            ...

Every read is a short transaction of its own, so a reader never holds a writer's pages for long, and every
record's checksum is compared before its content is believed.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import lmdb
import msgspec

from protocol.messages import Gap, Message, Robot
from storage.arrays import ArrayCodec
from storage.books import Books, Episode
from storage.errors import CorruptEvent, CorruptSession, EventNotFound
from storage.header import Header, read_header
from storage.info import SessionInfo, describe
from storage.load import books_of, close_segments, end_of, find_seq_in, first_of, open_segments
from storage.lock import writer_pid
from storage.places import Places, first_number, joined_places, places_in, sources_of
from storage.readahead import ReadAhead
from storage.record import Event, decode_record
from storage.segment import KIND_KEY, NUMBER, STEP_KEY, TIME_KEY, Segment, segment_folders, step_key

CHUNK_EVENTS = 64
CHUNK_BYTES = 16 << 20  # of records decoded ahead inside one transaction
NO_END = 2**64


class SessionReader:
    """Reads the session at `path`. Use it from one thread; a context manager.

    Raises SessionNotFound, CorruptSession, and CorruptEvent from every method that reads messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.header: Header = read_header(self.path)
        self._codec = ArrayCodec(self.header.codecs)
        self._segments: list[Segment] = open_segments(self.path)
        self._firsts: dict[int, int] = {}  # segment to its first event
        self._ahead = ReadAhead()

    @property
    def robot(self) -> Robot | None:
        """The robot of the session; None while none has announced itself."""
        if self.header.robot is None:
            self.header = read_header(self.path)
        return self.header.robot

    def refresh(self) -> None:
        """See segments that the writer began since. New events in known segments are seen without it."""
        known = {segment.path.name for segment in self._segments}
        self._segments += [Segment(folder) for folder in segment_folders(self.path) if folder.name not in known]

    def info(self) -> SessionInfo:
        """Everything that the books say, as of the last commit."""
        self.header = read_header(self.path)
        return describe(self.path, self.header, self.books(), self.gaps(), len(self._segments))

    def books(self) -> Books:
        self.refresh()
        return books_of(self._segments)

    def episodes(self) -> list[Episode]:
        """All episodes by number."""
        return [row for _, row in sorted(self.books().episodes.items())]

    def gaps(self) -> list[Gap]:
        """Every gap, with the times of the messages around it."""
        books = self.books()
        timed = []
        for stream in books.streams.values():
            for gap in stream.messages():
                times = {"after_ns": self._sent_ns(stream.id, gap.first - 1), "before_ns": self._sent_ns(stream.id, gap.last + 1)}
                timed.append(msgspec.structs.replace(gap, **times))
        return timed

    def _sent_ns(self, stream: int, seq: int) -> int:
        """When a message of a stream was sent, wall clock; 0 when it is not here."""
        if seq < 0:
            return 0
        number = find_seq_in(self._segments, stream, seq)
        return 0 if number is None else self._logged(number).message.envelope.t_ns

    def __len__(self) -> int:
        """The number of events that are committed."""
        # the newest segments may be empty: begun just now, or by writers that died before their first commit
        return next((end for segment in reversed(self._ready()) if (end := end_of(segment))), 0)

    def event(self, number: int) -> Event:
        """Event `number`, from 0, with what was left out of it. Raises EventNotFound."""
        return self._logged(number)

    def _logged(self, number: int) -> Event:
        """The same, by its number in the log."""
        for segment in self._ready():
            with segment.read() as txn:
                with self._ahead.of(segment, [number]):
                    record = txn.get(NUMBER.pack(number), db=segment.table("events"))
                if record is not None:
                    return decode_record(number, record, self._codec, self.path)
        raise EventNotFound(f"session {self.path.name} has no event {number}; it has {len(self)}")

    def events(self, start: int = 0, kinds: Iterable[str] | None = None) -> Iterator[Message]:
        """Messages in arrival order from event `start` on, of all or some topic kinds, to the last commit."""
        for event in self.numbered(start, kinds):
            yield event.message

    def numbered(self, start: int = 0, kinds: Iterable[str] | None = None) -> Iterator[Event]:
        """Like `events`, with numbers and what was left out."""
        return self._between(start, NO_END, kinds)

    def _between(self, start: int, last: int, kinds: Iterable[str] | None) -> Iterator[Event]:
        """Events of the log from `start` to `last`."""
        wanted = None if kinds is None else sorted(set(kinds))
        at = end = start
        for segment in self._ready():
            if end > last:
                return
            first = first_of(segment, end)
            if first > end:
                raise CorruptEvent(self.path, first - 1, f"events {end} to {first - 1} are in no segment")
            end = max(end, end_of(segment))
            while True:
                chunk = self._chunk(segment, at, last, wanted)
                yield from chunk
                if not chunk:
                    break
                at = chunk[-1].number + 1

    def _holds(self, number: int) -> bool:
        """Whether an event of the log is of this session: of a split only some are."""
        return True

    def numbers(self, start: int = 0, kinds: Iterable[str] | None = None) -> Iterator[int]:
        """The numbers of the same events, without reading them: for `event`, one at a time."""
        return self._numbers_between(start, NO_END, kinds)

    def _numbers_between(self, start: int, last: int, kinds: Iterable[str] | None) -> Iterator[int]:
        """Numbers in the log from `start` to `last`."""
        wanted = None if kinds is None else sorted(set(kinds))
        at = start
        for segment in self._ready():
            while True:
                with segment.read() as txn:
                    all_next = range(max(at, first_of(segment, at)), min(end_of(segment), at + CHUNK_EVENTS))
                    numbers = list(all_next) if wanted is None else _numbers_of(segment, txn, at, wanted)
                here = [number for number in numbers if number <= last]
                yield from here
                if not here or len(here) < len(numbers):
                    break
                at = here[-1] + 1

    def topic_messages(self, kind: str) -> Iterator[Message]:
        """All messages of a topic kind such as `frame`, in arrival order."""
        return self.events(kinds=[kind])

    def read(self, topic: str, episode: int, step: int | None) -> Message | None:
        """The message of this episode and step; None when there is none.

        `topic` is a kind (`action`) or a full topic (`metrics/trainer`); step None means messages of the
        episode without a step. Of several the first that was recorded.
        """
        kind = topic.partition("/")[0]
        first, last = step_key(kind, episode, step, 0), step_key(kind, episode, step, 2**64 - 1)
        for segment in self._ready():
            with segment.read() as txn, txn.cursor(db=segment.table("step")) as cursor:
                found = cursor.set_range(first)
                while found and bytes(cursor.key()) <= last:
                    number = STEP_KEY.unpack(cursor.key())[3]
                    if not self._holds(number):
                        found = cursor.next()
                        continue
                    with self._ahead.of(segment, [number]):
                        message = self._get(segment, txn, number).message
                    self._agree(number, (message.kind, message.envelope.episode, message.envelope.step) == (kind, episode, step))
                    if topic in (kind, message.topic):
                        return message
                    found = cursor.next()
        return None

    def frame(self, episode: int, step: int) -> Message:
        """The frame of this episode and step. Raises EventNotFound."""
        message = self.read("frame", episode, step)
        if message is None:
            raise EventNotFound(f"session {self.path.name} has no frame of episode {episode}, step {step}")
        return message

    def frame_from(self, episode: int, step: int = 0) -> int | None:
        """The number of the first frame of this episode from `step` on; None when there is none."""
        first, last = step_key("frame", episode, step, 0), step_key("frame", episode, None, 2**64 - 1)
        for segment in self._ready():
            with segment.read() as txn, txn.cursor(db=segment.table("step")) as cursor:
                there = cursor.set_range(first)
                while there and bytes(cursor.key()) <= last:
                    number = int(STEP_KEY.unpack(cursor.key())[3])
                    if self._holds(number):
                        return number
                    there = cursor.next()
        return None

    def probe(self) -> Message | None:
        """The newest probe; None when the robot sent none."""
        number = self._last_of("probe")
        return None if number is None else self._logged(number).message

    def event_at(self, t_ns: int) -> int | None:
        """The number of the event with the earliest wall clock time from `t_ns` on; None when all are earlier.

        Where a wall clock jumped back, as `info` tells, two events may claim the same time: numbers keep the order.
        """
        found: list[tuple[int, int]] = []
        for segment in self._ready():
            with segment.read() as txn, txn.cursor(db=segment.table("time")) as cursor:
                there = cursor.set_range(TIME_KEY.pack(max(t_ns, 0), 0))
                while there and not self._holds(TIME_KEY.unpack(cursor.key())[1]):
                    there = cursor.next()
                if there:
                    found.append(TIME_KEY.unpack(cursor.key()))
        return min(found)[1] if found else None

    def frame_at(self, t_ns: int) -> int | None:
        """The same of frames alone."""
        found: list[tuple[int, int]] = []
        for segment in self._ready():
            with segment.read() as txn, txn.cursor(db=segment.table("time")) as cursor:
                more = cursor.set_range(TIME_KEY.pack(max(t_ns, 0), 0))
                while more:
                    key = TIME_KEY.unpack(cursor.key())
                    if self._holds(key[1]) and txn.get(KIND_KEY.pack(b"frame", key[1]), db=segment.table("kind")) is not None:
                        found.append(key)
                        break
                    more = cursor.next()
        return min(found)[1] if found else None

    def follow(
        self, start: int = 0, kinds: Iterable[str] | None = None, *, poll_s: float = 0.05,
        stop: Callable[[], bool] = lambda: False, wait: Callable[[float], None] = time.sleep,
    ) -> Iterator[Message]:  # fmt: skip
        """Like `events`, and on with what the writer commits, until nobody writes any more or `stop()` is true."""
        wanted = None if kinds is None else list(kinds)
        at = start
        while not stop():
            # asked before reading: what was committed before the writer left is read after it left
            over = writer_pid(self.path) is None
            for event in self.numbered(at, wanted):
                yield event.message
                at = event.number + 1
            if over:
                return
            wait(poll_s)

    def places(self, kind: str) -> Places:
        """Where the messages of a topic kind are that have an episode and a step, in arrival order, to the last commit.

        Their events are numbered as `records` takes them: as in the log, also of a split.
        """
        self.refresh()
        books = books_of(self._segments)
        sources = sources_of(books.streams)
        ours = {stream.id: sources[stream.id] for stream in books.streams.values() if stream.topic.partition("/")[0] == kind}
        parts = []
        for segment in self._ready():
            with segment.read() as txn:
                parts.append(places_in(segment, txn, kind, ours, books.state.events))
        return joined_places(parts)

    @contextmanager
    def records(self, numbers: Sequence[int]) -> Iterator[list[memoryview]]:
        """The stored bytes of these events, as they lie in the map and not checked, for as long as the block lasts.

        Any thread may ask, each in a block of its own. Raises EventNotFound.
        """
        by_segment: dict[int, tuple[Segment, list[int]]] = {}
        for number in numbers:
            segment = self._segment_of(number)
            by_segment.setdefault(segment.number, (segment, []))[1].append(number)
        with ExitStack() as stack:
            found: dict[int, memoryview | None] = {}
            for segment, ours in by_segment.values():
                txn, table = stack.enter_context(segment.read()), segment.table("events")
                with self._ahead.of(segment, ours):
                    found.update((number, txn.get(NUMBER.pack(number), db=table)) for number in ours)
            yield [self._there(number, found[number]) for number in numbers]

    def _there(self, number: int, record: memoryview | None) -> memoryview:
        if record is None:
            raise EventNotFound(f"session {self.path.name} has no event {number}")
        return record

    def _segment_of(self, number: int) -> Segment:
        """The segment that holds an event, if any does: the last that begins before it."""
        for segment in reversed(self._segments):
            first = self._firsts.get(segment.number)
            if first is None and (first := first_number(segment)) is not None:
                self._firsts[segment.number] = first
            if first is not None and first <= number:
                return segment
        raise EventNotFound(f"session {self.path.name} has no event {number}")

    def close(self) -> None:
        """Let go of the files; more than once is fine."""
        close_segments(self._segments)
        self._segments = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ready(self) -> list[Segment]:
        self.refresh()
        return self._segments

    def _get(self, segment: Segment, txn: "lmdb.Transaction[memoryview]", number: int) -> Event:
        try:
            record = txn.get(NUMBER.pack(number), db=segment.table("events"))
        except lmdb.Error as error:
            raise CorruptEvent(self.path, number, f"its page cannot be read: {error}") from None
        if record is None:
            raise CorruptEvent(self.path, number, "it is in an index and not in the log, or missing between its neighbours")
        return decode_record(number, record, self._codec, self.path)

    def _agree(self, number: int, same: bool) -> None:
        """An index entry that leads to another message than it says is damage, not an answer."""
        if not same:
            raise CorruptSession(
                f"an index of {self.path} leads to event {number}, which is another; "
                f"`toddle sessions verify {self.path.name}` lists all damage"
            )

    def _chunk(self, segment: Segment, start: int, last: int, kinds: list[str] | None) -> list[Event]:
        """The next events of a segment, as many as one transaction should hold."""
        out: list[Event] = []
        size = 0
        # events have no holes: so a damaged tree cannot hide one
        all_next = range(start, min(end_of(segment), start + CHUNK_EVENTS))
        with segment.read() as txn:
            numbers = list(all_next) if kinds is None else _numbers_of(segment, txn, start, kinds)
            with self._ahead.of(segment, numbers):
                for number in numbers:
                    if number > last:
                        break
                    try:
                        event = self._get(segment, txn, number)
                        self._agree(number, kinds is None or event.message.kind in kinds)
                    except CorruptSession:
                        if out:  # those before it first; the next call says it again
                            break
                        raise
                    out.append(event)
                    size += event.message.nbytes
                    if size >= CHUNK_BYTES:
                        break
        return out

    def _last_of(self, kind: str) -> int | None:
        for segment in reversed(self._ready()):
            with segment.read() as txn, txn.cursor(db=segment.table("kind")) as cursor:
                found = cursor.prev() if cursor.set_range(KIND_KEY.pack(kind.encode(), 2**64 - 1)) else cursor.last()
                while found:
                    name, number = KIND_KEY.unpack(cursor.key())
                    if name.rstrip(b"\0") != kind.encode():
                        break
                    if self._holds(number):
                        return int(number)
                    found = cursor.prev()
        return None


def _numbers_of(segment: Segment, txn: "lmdb.Transaction[memoryview]", start: int, kinds: list[str]) -> list[int]:
    """The next numbers of some kinds from `start` on, in order."""
    numbers: list[int] = []
    with txn.cursor(db=segment.table("kind")) as cursor:
        for kind in kinds:
            name = KIND_KEY.pack(kind.encode(), 0)[:-8]
            found = cursor.set_range(KIND_KEY.pack(kind.encode(), start))
            for _ in range(CHUNK_EVENTS):
                if not found or bytes(cursor.key())[:-8] != name:
                    break
                numbers.append(KIND_KEY.unpack(cursor.key())[1])
                found = cursor.next()
    # the smallest of all kinds: each kind gave its own next ones, so nothing smaller is missing
    return sorted(numbers)[:CHUNK_EVENTS]
