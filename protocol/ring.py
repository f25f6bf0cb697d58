"""The reliable lane's memory at the publisher: the last messages, and how far each subscriber got.

Pure bookkeeping, no sockets. The bus appends what a node publishes, asks for what to send to whom, and
reports acknowledgements. Messages stay in the ring until their bytes are needed, so that a subscriber
that was stalled, cut off or restarted can ask for what it missed by number.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from protocol.codec import Buffer
from protocol.topics import TOPICS

WINDOW_BYTES = 16 << 20
WINDOW_MESSAGES = 512


class Entry(msgspec.Struct):
    """One message: its place in the publisher's order, and its parts on the wire.

    `shared` is there while it is published to several at once: the same parts, to be sent with one copy in all.
    """

    index: int
    topic: str
    kind: str
    seq: int
    parts: list[Buffer]
    nbytes: int
    shared: list[Buffer] | None = None


@dataclass(slots=True)
class Reader:
    """One reliable subscriber. `next_index` is the next entry to send, `in_flight` holds (index, bytes) of
    what it was sent and has not acknowledged."""

    name: str
    kinds: frozenset[str]
    connected: bool = False
    departed: bool = False
    next_index: int = 0
    resume: dict[str, int] = field(default_factory=dict)
    in_flight: deque[tuple[int, int]] = field(default_factory=deque)
    in_flight_bytes: int = 0
    catch_up: deque[Entry] = field(default_factory=deque)
    lost: int = 0

    @property
    def held_from(self) -> int:
        """The first entry that it may still need: the oldest that it has not acknowledged."""
        return min(self.in_flight[0][0], self.next_index) if self.in_flight else self.next_index


class Ring:
    """Entries within `limit_bytes`, and the readers that follow them."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.nbytes = 0
        self.readers: dict[str, Reader] = {}
        self._entries: deque[Entry] = deque()
        self._next_index = 0
        self._latched: dict[str, Entry] = {}
        self.kinds: frozenset[str] = frozenset()
        """Topic kinds that some reader takes; others need not be kept."""

    def declare(self, name: str, kinds: frozenset[str]) -> None:
        """Expect a reader: what it has not been sent is held back for it, even before it comes."""
        self.readers[name] = Reader(name, kinds)
        self.kinds |= kinds

    def has_room(self, nbytes: int) -> bool:
        """Whether `nbytes` more fit without dropping an entry that a reader has not acknowledged."""
        excess = self.nbytes + nbytes - self.limit_bytes
        if excess <= 0:
            return True
        for entry in self._entries:
            if self._needed(entry):
                return False
            excess -= entry.nbytes
            if excess <= 0:
                return True
        return True

    def append(self, topic: str, seq: int, parts: list[Buffer], drop_needed: bool) -> Entry:
        """Keep a message and return its entry, dropping the oldest to stay within the limit.

        What a reader has not acknowledged goes only with `drop_needed`, and is booked to it as lost if it
        was not even sent; otherwise the ring grows over its limit (heartbeats do that while a publisher
        waits for room).
        """
        nbytes = sum(map(len, parts))
        while self._entries and self.nbytes + nbytes > self.limit_bytes:
            if not drop_needed and self._needed(self._entries[0]):
                break
            self._drop_oldest()
        entry = Entry(self._next_index, topic, topic.partition("/")[0], seq, parts, nbytes)
        self._entries.append(entry)
        self._next_index += 1
        self.nbytes += nbytes
        return entry

    def join(self, name: str, kinds: frozenset[str], resume: dict[str, int]) -> None:
        """A reader is here and wants, per topic, everything from `resume[topic]` (default 0) on."""
        reader = self.readers.setdefault(name, Reader(name, kinds))
        reader.kinds = kinds
        self.kinds |= kinds
        reader.connected, reader.departed = True, False
        reader.resume = dict(resume)
        reader.next_index = self._first_index()
        reader.in_flight.clear()
        reader.in_flight_bytes = 0
        reader.catch_up = deque(sorted(self._latched.values(), key=lambda entry: entry.index))

    def disconnect(self, name: str) -> None:
        """A reader is gone but expected back: what it did not acknowledge is to be sent again."""
        reader = self.readers.get(name)
        if reader is None:
            return
        reader.connected = False
        reader.next_index = max(reader.held_from, self._first_index())
        reader.in_flight.clear()
        reader.in_flight_bytes = 0

    def depart(self, name: str) -> None:
        """A reader has left for good: nothing is held back for it any more."""
        if name in self.readers:
            self.disconnect(name)
            self.readers[name].departed = True

    def ack(self, name: str, index: int) -> None:
        """A reader has handled everything up to `index`."""
        reader = self.readers.get(name)
        if reader is None:
            return
        while reader.in_flight and reader.in_flight[0][0] <= index:
            reader.in_flight_bytes -= reader.in_flight.popleft()[1]

    def to_send(self, name: str) -> Iterator[Entry]:
        """The entries this reader may be sent now, within its window; taking one counts it as sent."""
        reader, entries = self.readers[name], self._entries
        while reader.connected and not self._window_full(reader):
            if reader.catch_up:
                entry = reader.catch_up.popleft()
            elif entries and reader.next_index <= entries[-1].index:
                entry = entries[max(reader.next_index - entries[0].index, 0)]
                reader.next_index = entry.index + 1
            else:
                return
            if entry.kind not in reader.kinds or entry.seq < reader.resume.get(entry.topic, 0):
                continue
            reader.in_flight.append((entry.index, entry.nbytes))
            reader.in_flight_bytes += entry.nbytes
            yield entry

    def drained(self) -> bool:
        """Whether every connected reader has acknowledged all it takes."""
        return all(
            not reader.in_flight and not reader.catch_up and not self._pending(reader)
            for reader in self.readers.values()
            if reader.connected
        )

    def _pending(self, reader: Reader) -> bool:
        start = max(reader.next_index - self._first_index(), 0)
        return any(self._entries[i].kind in reader.kinds for i in range(start, len(self._entries)))

    def _window_full(self, reader: Reader) -> bool:
        return bool(reader.in_flight) and (reader.in_flight_bytes >= WINDOW_BYTES or len(reader.in_flight) >= WINDOW_MESSAGES)

    def _first_index(self) -> int:
        return self._entries[0].index if self._entries else self._next_index

    def _needed(self, entry: Entry) -> bool:
        return any(
            not reader.departed and entry.kind in reader.kinds and entry.index >= reader.held_from for reader in self.readers.values()
        )

    def _drop_oldest(self) -> None:
        entry = self._entries.popleft()
        self.nbytes -= entry.nbytes
        if TOPICS[entry.kind].latched:  # a subscriber that joins late still gets the last one
            self._latched[entry.topic] = entry
        for reader in self.readers.values():
            if not reader.departed and entry.kind in reader.kinds and entry.index >= reader.next_index:
                if reader.connected and TOPICS[entry.kind].latched:
                    self._keep_newest(reader, entry)
                else:
                    reader.lost += 1

    def _keep_newest(self, reader: Reader, entry: Entry) -> None:
        """A reader that has joined and was not sent a latched message yet still gets the last one."""
        for older in [one for one in reader.catch_up if one.topic == entry.topic]:
            reader.catch_up.remove(older)
            reader.lost += 1
        reader.catch_up.append(entry)
