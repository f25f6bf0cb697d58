"""The books of a session: what was received of each stream, which numbers are missing, what episodes hold.

They are written in the transaction that writes the events they count, a row at a time and only rows that
changed, so they are never behind the data and never need an end of the session.
"""

import msgspec

from protocol.clock import NS_PER_S
from protocol.messages import ActionTaken, Envelope, EpisodeMark, Frame, Gap, Message, Tail
from storage.announced import Announced
from storage.index import MAX_INDEXED
from storage.segment import encode_meta
from storage.spans import joined, outside

JUMP_NS = 500_000_000
MAX_JUMPS = 100
STATE_KEY = b"state"


class Stream(msgspec.Struct, kw_only=True):
    """One topic of one run of its source. `gaps` are the numbers that were lost, as spans; `cut` those that an edit left out.

    `told`: the source ended without a last word, and its heartbeats told of numbers up to this (-1: of none).
    """

    id: int
    topic: str
    run: str
    first_seq: int
    last_seq: int
    count: int = 0
    bytes: int = 0
    first_t_ns: int
    last_t_ns: int
    first_mono_ns: int
    last_mono_ns: int
    gaps: list[tuple[int, int]] = []
    cut: list[tuple[int, int]] = []
    told: int | None = None

    def messages(self) -> list[Gap]:
        return [Gap(topic=self.topic, run=self.run, first=first, last=last) for first, last in self.gaps]

    def last_that_came(self) -> int:
        """The last number before the missing ones at its end."""
        return self.gaps[-1][0] - 1 if self.gaps and self.gaps[-1][1] == self.last_seq else self.last_seq


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """An EpisodeMark in the books."""

    mark: str
    reason: str = ""
    step: int | None = None
    t_ns: int


class Episode(msgspec.Struct, kw_only=True):
    """One episode: its steps (of frames), counts and marks; times are wall clock, which may jump."""

    episode: int
    first_step: int | None = None
    last_step: int | None = None
    frames: int = 0
    actions: int = 0
    held_out: bool = False
    marks: list[Mark] = []
    first_t_ns: int
    last_t_ns: int


class ClockJump(msgspec.Struct, frozen=True, kw_only=True):
    """The wall clock of a source jumped by `jump_s` before the message of `t_ns`."""

    source: str
    t_ns: int
    jump_s: float


class State(msgspec.Struct, kw_only=True):
    """Totals: events, the bytes of their records, the number of the last commit, and the first jumps of wall clocks.

    `streams` and `episodes` (inclusive spans) name all other rows, so that each can be looked up alone.
    """

    events: int = 0
    bytes: int = 0
    commit: int = 0
    streams: int = 0
    episodes: list[tuple[int, int]] = []
    clock_jumps: list[ClockJump] = []


class Books:
    """All rows, in memory; `changed` hands out what the next transaction must write."""

    def __init__(self) -> None:
        self.state = State()
        self.streams: dict[tuple[str, str], Stream] = {}
        self.episodes: dict[int, Episode] = {}
        self._changed: dict[bytes, Stream | Episode | State] = {}
        self._clocks: dict[str, tuple[int, int]] = {}

    def add(self, message: Message, stored: int) -> Stream:
        """Count a message whose record takes `stored` bytes as the next event; the stream it belongs to."""
        envelope = message.envelope
        self._watch_clock(envelope)
        stream = self._stream(message)
        if envelope.seq > stream.last_seq + 1:
            stream.gaps = [*stream.gaps[:-1], *joined([*stream.gaps[-1:], (stream.last_seq + 1, envelope.seq - 1)])]
        elif envelope.seq < stream.first_seq:  # late, and before all that came
            stream.gaps = joined([*stream.gaps, (envelope.seq + 1, stream.first_seq - 1)])
        elif envelope.seq <= stream.last_seq:
            stream.gaps = outside(stream.gaps, [(envelope.seq, envelope.seq)])
        stream.first_seq = min(stream.first_seq, envelope.seq)
        stream.last_seq = max(stream.last_seq, envelope.seq)
        if envelope.seq == stream.last_seq:
            stream.last_t_ns, stream.last_mono_ns = envelope.t_ns, envelope.mono_ns
        stream.count += 1
        stream.bytes += stored
        self._changed[stream_key(stream.id)] = stream
        self.state.events += 1
        self.state.bytes += stored
        if envelope.episode is not None and 0 <= envelope.episode < MAX_INDEXED:
            self._episode(message, envelope.episode)
        return stream

    def note_gap(self, gap: Gap) -> None:
        """Numbers of a known stream that never came; twice the same is once."""
        stream = self.streams.get((gap.topic, gap.run))
        if stream is None:  # nothing of it came yet: the stream begins with its gap
            stream = self._open(gap.topic, gap.run, gap.first, 0, 0)
        # what lies between the last number that came and the gap did not come either
        stream.gaps = joined([*stream.gaps, (min(gap.first, stream.last_seq + 1), gap.last)])
        stream.last_seq = max(stream.last_seq, gap.last)
        self._changed[stream_key(stream.id)] = stream

    def note_tail(self, tail: Tail) -> bool:
        """The end of a known stream is unknown; whether it is known here."""
        stream = self.streams.get((tail.topic, tail.run))
        if stream is None:
            return False
        stream.told = tail.told
        self._changed[stream_key(stream.id)] = stream
        return True

    def settle(self, sources: "list[Books]") -> None:
        """Tell what was lost from what an edit left out, of all numbers that these books miss; `sources` it was made of.

        A loss that the sources knew stays one when it borders on a message that was kept. So does a stream that
        lost all it sent.
        """
        lost: dict[tuple[str, str], list[tuple[int, int]]] = {}
        ends: set[tuple[str, str, int, int]] = set()
        for source in sources:
            for (topic, run), stream in source.streams.items():
                lost[topic, run] = joined([*lost.get((topic, run), []), *stream.gaps])
                if stream.told is not None:
                    ends.add((topic, run, stream.last_that_came(), stream.told))
        for (topic, run), spans in lost.items():
            known = self.streams.get((topic, run))
            if known is not None:
                _settle_stream(known, spans)
            elif all((topic, run) not in source.streams or not source.streams[topic, run].count for source in sources):
                for first, last in spans:
                    self.note_gap(Gap(topic=topic, run=run, first=first, last=last))
        for topic, run, last, told in ends:
            known = self.streams.get((topic, run))
            if known is not None and known.last_that_came() == last:
                known.told = told
        self._changed |= {stream_key(stream.id): stream for stream in self.streams.values()}

    def rows(self) -> list["Stream | Episode | State"]:
        """All rows, as `put` takes them."""
        return [self.state, *self.streams.values(), *self.episodes.values()]

    def tails(self) -> list[Tail]:
        return [
            Tail(topic=stream.topic, run=stream.run, last=stream.last_that_came(), told=stream.told)
            for stream in self.streams.values()
            if stream.told is not None
        ]

    def gaps(self) -> list[Gap]:
        return [gap for stream in self.streams.values() for gap in stream.messages()]

    def last_seq(self) -> dict[str, int]:
        """Topic to the last number of its newest run."""
        return {stream.topic: stream.last_seq for stream in self.streams.values()}

    def changed(self) -> list[tuple[bytes, bytes]]:
        """Rows of the meta table that changed since `written`."""
        return [(key, encode_meta(row)) for key, row in self._changed.items()]

    def next_commit(self) -> None:
        """Number the commit that is to come; one that failed has had its number."""
        self.state.commit += 1
        self._changed[STATE_KEY] = self.state

    def written(self) -> None:
        self._changed.clear()

    def reached(self) -> Announced:
        """How far they go; with `next_commit` counted, once it is on disk."""
        return Announced(self.state.commit, self.state.events)

    def put(self, row: Stream | Episode | State) -> None:
        """Take a row that was read; later rows replace earlier ones."""
        if isinstance(row, Stream):
            self.streams[row.topic, row.run] = row
        elif isinstance(row, Episode):
            self.episodes[row.episode] = row
        else:
            self.state = row

    def _watch_clock(self, envelope: Envelope) -> None:
        """Of each run the newest (mono_ns, t_ns - mono_ns): the difference stays, unless the wall clock jumps."""
        before = self._clocks.get(envelope.run) or self._clock_before(envelope.run)
        difference_ns = envelope.t_ns - envelope.mono_ns
        if before is not None and envelope.mono_ns < before[0]:
            return  # sent again
        self._clocks[envelope.run] = envelope.mono_ns, difference_ns
        if before is not None and abs(difference_ns - before[1]) > JUMP_NS and len(self.state.clock_jumps) < MAX_JUMPS:
            jump = ClockJump(source=envelope.source, t_ns=envelope.t_ns, jump_s=(difference_ns - before[1]) / NS_PER_S)
            self.state.clock_jumps = [*self.state.clock_jumps, jump]

    def _clock_before(self, run: str) -> tuple[int, int] | None:
        """As an earlier writer of this session left it."""
        ends = [(stream.last_mono_ns, stream.last_t_ns) for (_, of), stream in self.streams.items() if of == run and stream.count]
        return max((mono_ns, t_ns - mono_ns) for mono_ns, t_ns in ends) if ends else None

    def _stream(self, message: Message) -> Stream:
        envelope = message.envelope
        stream = self.streams.get((envelope.topic, envelope.run))
        if stream is None:
            stream = self._open(envelope.topic, envelope.run, envelope.seq, envelope.t_ns, envelope.mono_ns)
        elif not stream.count:
            stream.first_t_ns, stream.first_mono_ns = envelope.t_ns, envelope.mono_ns
        return stream

    def _open(self, topic: str, run: str, seq: int, t_ns: int, mono_ns: int) -> Stream:
        stream = Stream(
            id=len(self.streams), topic=topic, run=run, first_seq=seq, last_seq=seq - 1,
            first_t_ns=t_ns, last_t_ns=t_ns, first_mono_ns=mono_ns, last_mono_ns=mono_ns,
        )  # fmt: skip
        self.streams[topic, run] = stream
        self.state.streams = len(self.streams)
        return stream

    def _episode(self, message: Message, number: int) -> None:
        envelope, body = message.envelope, message.body
        if not isinstance(body, Frame | ActionTaken | EpisodeMark):
            return
        row = self.episodes.get(number)
        if row is None:
            row = self.episodes[number] = Episode(episode=number, first_t_ns=envelope.t_ns, last_t_ns=envelope.t_ns)
            self.state.episodes = joined([*self.state.episodes, (number, number)])
        row.last_t_ns = envelope.t_ns
        if isinstance(body, EpisodeMark):
            row.marks = [*row.marks, Mark(mark=body.mark, reason=body.reason, step=envelope.step, t_ns=envelope.t_ns)]
            row.held_out = row.held_out or body.held_out
        elif isinstance(body, ActionTaken):
            row.actions += 1
        else:
            row.frames += 1
            row.held_out = row.held_out or body.held_out
            if envelope.step is not None:
                row.first_step = envelope.step if row.first_step is None else min(row.first_step, envelope.step)
                row.last_step = envelope.step if row.last_step is None else max(row.last_step, envelope.step)
        self._changed[episode_key(number)] = row


def stream_key(number: int) -> bytes:
    return b"stream/%08x" % number


def episode_key(number: int) -> bytes:
    return b"episode/%016x" % number


def _settle_stream(stream: Stream, lost: list[tuple[int, int]]) -> None:
    """Divide what is missing of a stream between `gaps` and `cut`; `lost` are the losses that the sources know."""
    kept = outside([(stream.first_seq, stream.last_seq)], stream.gaps)
    firsts, lasts = {first for first, _ in kept}, {last for _, last in kept}
    gaps = [span for span in outside(lost, kept) if span[0] - 1 in lasts or span[1] + 1 in firsts]
    stream.cut = outside(stream.gaps, gaps)
    stream.gaps = gaps
    if gaps:
        stream.first_seq, stream.last_seq = min(stream.first_seq, gaps[0][0]), max(stream.last_seq, gaps[-1][1])
