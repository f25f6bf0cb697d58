"""Writes a session: messages in, committed transactions out.

    with SessionWriter.create(root / "walk", robot=robot) as writer:
        writer.append(message)

Events wait in memory and go to disk in one transaction, with their indexes and books, when there are
`commit_events` of them, `commit_bytes`, or the oldest waited `sync_interval_s`; LMDB syncs every commit.
"""

import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self

import lmdb
import msgspec

from protocol.clock import NS_PER_S, Clock, SystemClock
from protocol.codec import Header as MessageHeader
from protocol.messages import Committed, Gap, Message, Robot, Tail
from storage.announced import Announcer, check_announced, read_announced
from storage.arrays import DEFAULT_CODEC, ArrayCodec
from storage.books import Books
from storage.errors import DiskFull, SessionExists, StorageError, refused_by_system
from storage.header import Header, change_header, new_header, read_header, write_header
from storage.index import Entry, put_events
from storage.load import find_seq, load_books
from storage.lock import SessionLock
from storage.paths import HEADER_FILE, forget_cached, free_bytes, make_folder
from storage.record import copied, encode_record
from storage.segment import Segment, next_segment

GIB = 1 << 30
ROLL_AT = 0.8
"""A segment fuller than this share of its map is the last one's end: the next batch opens a new one."""
MAX_GAPS_TOLD = 200  # in Committed: its header has a size limit; the books keep all of them
_ROOM = 4 << 20  # bytes a batch may need beside its records: indexes, books, pages written anew
_READER_CHECKS = 100  # commits between two looks for readers that died


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """When to commit, when to roll, when to refuse. `map_bytes` is sparse address space, not disk."""

    map_bytes: int = 4 * GIB
    sync_interval_s: float = 1.0
    commit_events: int = 30
    commit_bytes: int = 32 << 20
    min_free_bytes: int = 0


class SessionWriter:
    """The one writer of a session. Made by `create`; a context manager."""

    def __init__(self, path: Path, header: Header, lock: SessionLock, books: Books, limits: Limits) -> None:
        self.path = path
        self.name = header.name
        self.limits = limits
        self.commits = 0
        self.disk_free: Callable[[Path], int] = free_bytes
        self.timed: Callable[[float], object] = lambda seconds: None
        """Called after every commit with the seconds that it took."""
        self.waited_s = 0.0
        """The longest that an event waited from being taken until it was on disk; whoever looks sets it back to 0."""
        self.clock: Clock = SystemClock()
        self._lock = lock
        self._books = books
        self._codec = ArrayCodec(header.codecs)
        self._robot = header.robot
        self._segment: Segment | None = None
        self._forgotten = 0
        self._waiting: list[Entry] = []
        self._waiting_bytes = 0
        self._noted = False
        self._oldest_ns: int | None = None
        self._closed = False
        self.free_bytes = self.disk_free(path)
        self.committed = self._told()
        self._announcer = Announcer(path)
        self._announce()  # its place on the disk is taken now, while there is some

    @classmethod
    def create(  # noqa: PLR0913 - the settings of a session, each by name
        cls, path: Path, *, robot: Robot | None = None, codec: str = DEFAULT_CODEC, map_bytes: int = 4 * GIB,
        sync_interval_s: float = 1.0, commit_events: int = 30, commit_bytes: int = 32 << 20, min_free_bytes: int = 0,
        source: dict[str, Any] | None = None, name: str | None = None, resume: bool = False,
    ) -> Self:  # fmt: skip
        """Begin a session at `path`, or with `resume` go on with the one that is there (then `codec` and `source` stay).

        Raises SessionExists, SessionLocked, DiskFull, and CorruptSession when what was announced of it is not there.
        """
        path = Path(path)
        limits = Limits(
            map_bytes=map_bytes, sync_interval_s=sync_interval_s, commit_events=commit_events,
            commit_bytes=commit_bytes, min_free_bytes=min_free_bytes,
        )  # fmt: skip
        there = (path / HEADER_FILE).exists()
        if not resume and path.exists() and (there or not path.is_dir() or any(path.iterdir())):
            raise SessionExists(
                f"{path} exists: choose another name, resume it, or delete it with `toddle sessions delete {path.name} --yes`"
            )
        if free_bytes(path) < min_free_bytes:
            raise DiskFull(f"{path} cannot begin: less than {min_free_bytes} bytes are free there; delete sessions or choose another root")
        with refused_by_system(path.name):
            make_folder(path)
            lock = SessionLock(path)
            try:
                if there:
                    header, books = read_header(path), load_books(path)
                    if header.split:
                        raise StorageError(f"{path} is a split of {header.split}: nothing can be recorded into it; choose another name")
                    check_announced(path, read_announced(path), books.reached())
                else:
                    header, books = new_header(name or path.name, codec, sync_interval_s, source or {}), Books()
                    write_header(path, header)
                writer = cls(path, header, lock, books, limits)
                if robot is not None:
                    writer.set_robot(robot)
            except BaseException:
                lock.close()
                raise
        return writer

    def append(self, message: Message, leave_out: Collection[str] = ()) -> int:
        """Take one message, commit when that is due; the event's number.

        Arrays named in `leave_out` are not stored; the event says so. The message's arrays may be reused
        when this returns. A number of a stream that is already there is not stored twice.
        Raises BadMessage, DiskFull.
        """
        self._check_open()
        if self.left_bytes < self.limits.min_free_bytes:
            self.flush()
            raise DiskFull(
                f"session {self.name} stops: {self.free_bytes} bytes are free, {self.limits.min_free_bytes} must stay; "
                "all events taken so far are on disk"
            )
        known = self._find(message)
        if known is not None:
            return known
        number = self._books.state.events
        self._take(number, message, encode_record(number, message, self._codec, leave_out))
        return number

    def append_copy(self, header: MessageHeader[Any], record: bytes, change: bool = False) -> int:
        """Take an event of another session as it is stored there; the event's number here.

        Its arrays are not looked at. With `change` its header is written anew, as given. A number of a stream
        that is already there is not stored twice. Raises DiskFull.
        """
        self._check_open()
        message = Message(envelope=header.envelope, body=header.body)
        known = self._find(message)
        if known is not None:
            return known
        number = self._books.state.events
        self._take(number, message, copied(number, record, header if change else None))
        return number

    def _take(self, number: int, message: Message, record: bytes) -> None:
        """One more event waits; commit when that is due."""
        stream = self._books.add(message, len(record))
        self._waiting.append(Entry(number, record, stream.id, message.envelope))
        self._waiting_bytes += len(record)
        if self._oldest_ns is None:
            self._oldest_ns = self.clock.mono_ns()
        if isinstance(message.body, Robot) and self._robot is None:
            self.set_robot(message.body)
        if len(self._waiting) >= self.limits.commit_events or self._waiting_bytes >= self.limits.commit_bytes:
            self.flush()

    def settle(self, sources: list[Books]) -> None:
        """Tell what was lost from what this copy of `sources` leaves out; on disk with the next commit."""
        self._check_open()
        self._books.settle(sources)
        self._noted = True

    def note_gap(self, gap: Gap) -> None:
        """Write down numbers that never came; on disk with the next commit. Jumps in `seq` note themselves."""
        self._check_open()
        self._books.note_gap(gap)
        self._noted = True
        if self._oldest_ns is None:
            self._oldest_ns = self.clock.mono_ns()

    def note_tail(self, tail: Tail) -> bool:
        """Write down that a stream's publisher ended without a last word; on disk with the next commit.

        Whether the session has anything of that stream: if not, nothing is written down.
        """
        self._check_open()
        known = self._books.note_tail(tail)
        if known:
            self._noted = True
            if self._oldest_ns is None:
                self._oldest_ns = self.clock.mono_ns()
        return known

    def last_seq(self, topic: str, run: str) -> int:
        """The last number taken or noted as missing, committed or not; -1 for a stream of which nothing is known."""
        stream = self._books.streams.get((topic, run))
        return -1 if stream is None else stream.last_seq

    def ends(self) -> dict[str, tuple[str, int]]:
        """Topic to (run, last number taken) of the stream of it that was begun last."""
        return {topic: (run, stream.last_seq) for (topic, run), stream in self._books.streams.items()}

    def set_robot(self, robot: Robot) -> None:
        """Write the robot into session.json. The first Robot message appended does so by itself. Raises DiskFull."""
        self._robot = robot
        with refused_by_system(self.name):
            change_header(self.path, robot=robot)

    @property
    def events(self) -> int:
        """Events taken, committed or not."""
        return self._books.state.events

    @property
    def bytes(self) -> int:
        """Of the records of these events."""
        return self._books.state.bytes

    @property
    def lag_s(self) -> float:
        """How long the oldest event that is not on disk has waited."""
        oldest_ns = self._oldest_ns
        return 0.0 if oldest_ns is None else (self.clock.mono_ns() - oldest_ns) / NS_PER_S

    def gaps(self) -> list[Gap]:
        """All gaps known, committed or not."""
        return self._books.gaps()

    @property
    def left_bytes(self) -> int:
        """Free disk at the last look, less what waits to be written."""
        return self.free_bytes - self._waiting_bytes

    def look_at_disk(self) -> int:
        """Ask how many bytes are free; also asked at every commit."""
        self.free_bytes = self.disk_free(self.path)
        return self.free_bytes

    @property
    def robot(self) -> Robot | None:
        return self._robot

    def commit_due(self, now_mono_ns: int) -> bool:
        """Whether something waits on disk for longer than the sync interval."""
        return self._oldest_ns is not None and now_mono_ns - self._oldest_ns >= self.limits.sync_interval_s * NS_PER_S

    def tick(self, now_mono_ns: int) -> Committed | None:
        """Commit when it is due; what is on disk then, None when nothing was due."""
        return self.flush() if self.commit_due(now_mono_ns) else None

    def flush(self) -> Committed:
        """Bring everything taken so far to disk and say what is there. Raises DiskFull; then events still wait."""
        self._check_open()
        if self._waiting or self._noted:
            start_ns = self.clock.mono_ns()
            self._commit()
            if self._waiting_bytes >= self.limits.commit_bytes:
                self._forget_cached()
            self.timed((self.clock.mono_ns() - start_ns) / NS_PER_S)
            self.waited_s = max(self.waited_s, self.lag_s)
            self._waiting.clear()
            self._waiting_bytes = 0
            self._noted = False
            self._oldest_ns = None
            self.commits += 1
            self.look_at_disk()
            self._announce()
            self.committed = self._told()
        return self.committed

    def close(self) -> None:
        """Flush and let go of the session; more than once is fine. Raises DiskFull when the flush finds no room."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            self._leave_segment()
            self._announcer.close()
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _commit(self) -> None:
        """One transaction; when the map is full, or the last one was refused, the batch goes into a new segment."""
        if self._segment is None and self._waiting and load_books(self.path).state.events == self.events:
            raise StorageError(f"session {self.name} cannot go on: the disk refused a commit and shows it all the same; resume the session")
        self._books.next_commit()
        if self._segment is None or self._segment.fill() >= ROLL_AT:
            self._roll()
        elif self.commits % _READER_CHECKS == 0:
            self._segment.env.reader_check()
        try:
            self._write_batch()
        except lmdb.MapFullError:
            self._roll()
            self._write_batch()

    def _write_batch(self) -> None:
        assert self._segment is not None
        try:
            with self._segment.env.begin(write=True) as txn:
                put_events(txn, self._segment, self._waiting)
                meta = self._segment.table("meta")
                for key, value in self._books.changed():
                    txn.put(key, value, db=meta)
        except lmdb.MapFullError:
            raise
        except lmdb.Error as error:
            self._leave_segment()  # LMDB may be unable to go on with it
            raise self._trouble(error) from None
        self._books.written()

    def _forget_cached(self) -> None:
        """What comes so fast would take over the cache, from everybody else and page by new page, which halves the speed.

        Each part of a segment once, and not its end: there, and where pages are used again, are the indexes that grow on.
        """
        assert self._segment is not None
        file = self._segment.path / "data.mdb"
        with contextlib.suppress(OSError):
            end = file.stat().st_size - 2 * self.limits.commit_bytes
            if end > self._forgotten:
                forget_cached(file, self._forgotten, end)
                self._forgotten = end

    def _announce(self) -> None:
        with refused_by_system(self.name):
            self._announcer.write(self._books.reached())

    def _leave_segment(self) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None
            self._forgotten = 0

    def _roll(self) -> None:
        self._leave_segment()
        # one batch fits any segment, however small the map is set: records, indexes, books, page overhead
        books = sum(len(value) for _, value in self._books.changed())
        room = 2 * (self._waiting_bytes + books) + 8192 * len(self._waiting) + (1 << 17)
        try:
            self._segment = Segment(next_segment(self.path), map_bytes=max(self.limits.map_bytes, room))
        except (lmdb.Error, OSError) as error:
            raise self._trouble(error) from None

    def _trouble(self, error: Exception) -> StorageError:
        text = str(error)
        # a write cut short for want of room reaches us as a plain I/O error: then the free space tells
        full = isinstance(error, lmdb.DiskError) or any(word in text for word in ("No space", "quota", "too large"))
        if full or self.look_at_disk() < self._waiting_bytes + _ROOM:
            return DiskFull(f"session {self.name} stops: {text}; {len(self._waiting)} events are not written, all before them are on disk")
        return StorageError(f"session {self.name} cannot be written: {text}; check the disk under {self.path}")

    def _find(self, message: Message) -> int | None:
        """The event that already holds this number of this stream."""
        envelope = message.envelope
        stream = self._books.streams.get((envelope.topic, envelope.run))
        if (
            stream is None
            or not stream.first_seq <= envelope.seq <= stream.last_seq
            or any(first <= envelope.seq <= last for first, last in stream.gaps)
        ):
            return None
        for waiting in self._waiting:
            if waiting.stream == stream.id and waiting.envelope.seq == envelope.seq:
                return waiting.number
        return find_seq(self.path, stream.id, envelope.seq)

    def _told(self) -> Committed:
        books = self._books
        return Committed(
            session=self.name, path=str(self.path), last_seq=books.last_seq(), events=books.state.events, bytes=books.state.bytes,
            gaps=books.gaps()[-MAX_GAPS_TOLD:],
        )  # fmt: skip

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"session {self.name} was closed for writing: resume it to go on")
