"""What a session holds, in one typed answer: for people, for `--json`, for trainers that size themselves."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from protocol.clock import NS_PER_S
from protocol.messages import Gap, Robot, Tail
from storage.books import Books, ClockJump, Episode, Stream
from storage.header import Header
from storage.lock import writer_pid
from storage.paths import disk_bytes


class TopicInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One topic over all runs of its source. `bytes` are stored; the rate is what really came, by the source's clock.

    `missing` were lost, `cut` an edit left out.
    """

    count: int
    bytes: int
    rate_hz: float
    runs: int
    missing: int
    cut: int


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A session. `bytes` are those of records, `disk_bytes` all that its folder takes; times are wall clock.

    `duration_s` is by the source's monotonic clock: a wall clock that jumped does not matter.
    """

    name: str
    path: str
    state: Literal["open", "closed"]
    pinned: bool
    created: str
    toddle: str
    robot: Robot | None
    codecs: dict[str, str]
    sync_interval_s: float
    source: dict[str, Any]
    notes: str
    tags: list[str]
    derived_from: list[str]
    events: int
    bytes: int
    disk_bytes: int
    duration_s: float
    frames: int
    segments: int
    topics: dict[str, TopicInfo]
    episodes: list[Episode]
    gaps: list[Gap]
    tails: list[Tail]
    clock_jumps: list[ClockJump]


def describe(path: Path, header: Header, books: Books, gaps: list[Gap], segments: int) -> SessionInfo:
    """The info of the session at `path` from its header and books."""
    episodes = [row for _, row in sorted(books.episodes.items())]
    return SessionInfo(
        name=header.name, path=str(path), state="closed" if writer_pid(path) is None else "open",
        pinned=header.pinned, created=header.created, toddle=header.toddle, robot=header.robot,
        codecs=header.codecs, sync_interval_s=header.sync_interval_s, source=header.source,
        notes=header.notes, tags=header.tags, derived_from=header.derived_from,
        events=books.state.events, bytes=books.state.bytes, disk_bytes=disk_bytes(path),
        duration_s=_duration_s(list(books.streams.values())), frames=sum(row.frames for row in episodes),
        segments=segments, topics=_topics(books), episodes=episodes, gaps=gaps, tails=books.tails(),
        clock_jumps=books.state.clock_jumps,
    )  # fmt: skip


def _topics(books: Books) -> dict[str, TopicInfo]:
    by_topic: dict[str, list[Stream]] = {}
    for stream in books.streams.values():
        by_topic.setdefault(stream.topic, []).append(stream)
    return {
        topic: TopicInfo(
            count=sum(stream.count for stream in streams),
            bytes=sum(stream.bytes for stream in streams),
            rate_hz=_rate_hz(streams),
            runs=len(streams),
            missing=sum(last - first + 1 for stream in streams for first, last in stream.gaps),
            cut=sum(last - first + 1 for stream in streams for first, last in stream.cut),
        )
        for topic, streams in sorted(by_topic.items())
    }


def _rate_hz(streams: list[Stream]) -> float:
    """Messages per second of the source's monotonic clock, over all runs."""
    intervals = sum(stream.count - 1 for stream in streams if stream.count > 1)
    seconds = sum(stream.last_mono_ns - stream.first_mono_ns for stream in streams if stream.count > 1) / NS_PER_S
    return intervals / seconds if seconds > 0 else 0.0


def _duration_s(streams: list[Stream]) -> float:
    """From the first to the last frame of each run of the source; of all streams where there are no frames."""
    heard = [stream for stream in streams if stream.count]
    seconds: dict[str, float] = {}
    for stream in [stream for stream in heard if stream.topic.startswith("frame/")] or heard:
        seconds[stream.topic] = seconds.get(stream.topic, 0.0) + max(stream.last_mono_ns - stream.first_mono_ns, 0) / NS_PER_S
    return max(seconds.values(), default=0.0)
