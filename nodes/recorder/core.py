"""Decides what a recorder keeps and says; knows neither sockets nor threads nor what time it is.

The topic table says what is recorded. A node feeds messages in, calls `tick` a few times a second and
publishes what that returns. DiskFull comes out of every call that writes: the node ends with exit code 4.
"""

from pathlib import Path

from nodes.recorder.config import RecorderConfig
from protocol.messages import Alarm, Committed, Gap, Message, Robot, Tail
from protocol.played import unwrap
from protocol.topics import TOPICS
from storage.errors import BadMessage
from storage.retention import Deleted, retain
from storage.writer import SessionWriter

GIB = 1 << 30
WARN_AT = 2.0
"""The disk alarm comes when less than this many times `min_free_gb` is free, before the stop."""
CALM_AT = 2.2  # and goes only above this, so that it does not flicker


def open_writer(path: Path, config: RecorderConfig, *, resume: bool = False) -> SessionWriter:
    """The session at `path` as the config wants it. Raises StorageError."""
    return SessionWriter.create(
        path, codec=config.codec, map_bytes=int(config.map_gb * GIB), sync_interval_s=config.sync_interval_s,
        commit_events=config.commit_events, min_free_bytes=int(config.min_free_gb * GIB), resume=resume,
    )  # fmt: skip


class RecorderCore:
    """The books of one recording: `recorded` and `refused` count messages per topic."""

    def __init__(self, writer: SessionWriter, config: RecorderConfig) -> None:
        self.writer = writer
        self.config = config
        self.recorded: dict[str, int] = {}
        self.duplicates: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.ignored: dict[str, int] = {}
        self._told_commits = 0
        self._disk_low = False

    @property
    def free_bytes(self) -> int:
        """Free disk at the last look."""
        return self.writer.free_bytes

    @property
    def lossless(self) -> bool:
        """Whether everything that was published is in the session, as far as the numbers tell."""
        return not self.writer.gaps() and not self.refused

    def numbers(self) -> dict[str, float]:
        """How far it is, and how much room there is."""
        writer, committed = self.writer, self.writer.committed
        return {
            "events": writer.events, "waiting": writer.events - committed.events, "lag_s": writer.lag_s, "bytes": committed.bytes,
            "sync_interval_s": self.config.sync_interval_s, "free_bytes": writer.free_bytes,
            "min_free_bytes": self.config.min_free_gb * GIB, "refused": sum(self.refused.values()),
        }  # fmt: skip

    def handle(self, message: Message) -> int | None:
        """Record one message when its topic is recorded; the event's number. Raises DiskFull."""
        row = TOPICS.get(message.kind)
        if row is None or not row.recorded or self.config.copy_exactly:
            _count(self.ignored, message.topic)
            return None
        return self._append(message, self._left_out(message))

    def handle_played(self, outer: Message) -> int | None:
        """Record the message that an exact replay has wrapped: all that was recorded of it. Raises DecodeError, DiskFull."""
        message, left_out = unwrap(outer)
        row = TOPICS[message.kind]
        if not row.recorded:
            _count(self.ignored, message.topic)
            return None
        return self._append(message, left_out)

    def _append(self, message: Message, left_out: frozenset[str]) -> int | None:
        before = self.writer.events
        try:
            number = self.writer.append(message, left_out)
        except BadMessage:
            _count(self.refused, message.topic)
            return None
        _count(self.recorded if self.writer.events > before else self.duplicates, message.topic)
        return number

    def note_gap(self, gap: Gap) -> None:
        """Write down what the bus could not get any more."""
        row = TOPICS.get(gap.topic.partition("/")[0])
        if row is not None and row.recorded and not self.config.copy_exactly:
            self.writer.note_gap(gap)

    def note_tail(self, tail: Tail) -> bool:
        """Write down that the end of a stream is not known; False when nothing of that stream has come here yet."""
        row = TOPICS.get(tail.topic.partition("/")[0])
        return row is None or not row.recorded or self.config.copy_exactly or self.writer.note_tail(tail)

    def tick(self, now_mono_ns: int) -> list[Committed | Alarm]:
        """Commit when it is due; what to publish now. Raises DiskFull."""
        self.writer.look_at_disk()
        self.writer.tick(now_mono_ns)
        return self._news()

    def finish(self) -> list[Committed | Alarm]:
        """Commit everything and close the session; the last news. Raises DiskFull."""
        self.writer.close()
        return self._news()

    def retain(self) -> list[Deleted]:
        """Delete the oldest sessions of this robot's driver above `max_gb`; what was deleted. For the node to call now and then."""
        robot: Robot | None = self.writer.robot
        if robot is None or self.config.max_gb == 0:
            return []
        path = self.writer.path
        return retain(path.parent, robot.driver, int(self.config.max_gb * GIB), keep=(path.name,))

    def _left_out(self, message: Message) -> frozenset[str]:
        """Names of arrays that are not stored: weights always (the checkpoint has them), predicted images unless wanted."""
        if message.kind == "weights" or (message.kind == "prediction" and not self.config.record_predictions):
            return frozenset(message.arrays)
        return frozenset()

    def _news(self) -> list[Committed | Alarm]:
        news: list[Committed | Alarm] = []
        if self.writer.commits > self._told_commits:
            self._told_commits = self.writer.commits
            news.append(self.writer.committed)
        alarm = self._disk_alarm()
        return news if alarm is None else [*news, alarm]

    def _disk_alarm(self) -> Alarm | None:
        """An alarm when the disk gets low, another when it is well again, nothing in between."""
        floor = self.config.min_free_gb * GIB
        free = self.writer.free_bytes
        low = free < floor * (CALM_AT if self._disk_low else WARN_AT)
        if low == self._disk_low:
            return None
        self._disk_low = low
        text = f"{free / GIB:.1f} GiB free; recording stops at {self.config.min_free_gb:.1f} GiB: delete sessions or free disk"
        return Alarm(name="disk_low", text=text if low else f"{free / GIB:.1f} GiB free again", active=low)


def _count(counts: dict[str, int], topic: str) -> None:
    counts[topic] = counts.get(topic, 0) + 1
