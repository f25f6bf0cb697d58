"""Decides what a recorder keeps and says; knows neither sockets nor threads nor what time it is.

The topic table says what is recorded. A node feeds messages in, calls `tick` a few times a second and
publishes what that returns. DiskFull comes out of every call that writes: the node ends with exit code 4.
"""

from pathlib import Path

from nodes.recorder.config import GIB, RecorderConfig
from nodes.recorder.estimate import Estimator
from protocol.disk import PER_MINUTE, DiskUse, tell_bytes
from protocol.messages import Alarm, Committed, Gap, Message, Robot, Tail
from protocol.played import unwrap
from protocol.topics import TOPICS
from storage.errors import BadMessage
from storage.retention import Retained, retain
from storage.writer import SessionWriter

WARN_AT = 2.0
"""The disk alarm comes when less than this many times `min_free_gb` is free, before the stop."""
CALM_AT = 2.2  # and goes only above this, so that it does not flicker
LATE_S, LATE_INTERVALS = 5.0, 2.0
"""An event may wait for the disk for LATE_S and LATE_INTERVALS sync intervals before that is an alarm, as for Prometheus."""

MOST_TOLD = 20
"""Of deleted sessions, in one alarm."""


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
        self._estimator = Estimator()
        self._use: DiskUse | None = None
        self._alarms: set[str] = set()
        """Names of the alarms that are on."""

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
        use = {} if self._use is None else {PER_MINUTE: self._use.bytes_per_minute}
        return {
            **use,
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
            stored = self.writer.bytes
            number = self.writer.append(message, left_out)
        except BadMessage:
            _count(self.refused, message.topic)
            return None
        new = self.writer.events > before
        _count(self.recorded if new else self.duplicates, message.topic)
        if new:
            self._estimator.take(message, self.writer.bytes - stored)
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
        return [*self._news(), *self._disk_alarm(), *self._lag_alarm()]

    def finish(self) -> list[Committed]:
        """Commit everything and close the session; the last news. Raises DiskFull."""
        self.writer.close()
        return self._news()

    def estimate(self) -> DiskUse | None:
        """What a minute costs and how long the disk will do, once: as soon as the first frames tell."""
        if self._use is not None:
            return None
        self._use = self._estimator.use(self.writer.free_bytes - self.config.min_free_gb * GIB)
        return self._use

    @property
    def may_retain(self) -> bool:
        """Whether it is known whose sessions count."""
        return self.writer.robot is not None or self.config.max_total_gb > 0

    def retain(self) -> dict[str, Retained]:
        """Delete the oldest sessions above `max_gb` and `max_total_gb`; by the name of the limit, what came of it.

        Works on files alone: may be called from another thread, and may take seconds.
        """
        robot: Robot | None = self.writer.robot
        root, keep = self.writer.path.parent, (self.writer.path.name,)
        done: dict[str, Retained] = {}
        if robot is not None and self.config.max_gb:
            done["max_gb"] = retain(root, robot.driver, int(self.config.max_gb * GIB), keep)
        if self.config.max_total_gb:
            done["max_total_gb"] = retain(root, None, int(self.config.max_total_gb * GIB), keep)
        return done

    def tell(self, done: dict[str, Retained]) -> list[Alarm]:
        """The alarms of a deletion: one for each that deleted something, one while a limit cannot be kept."""
        gone = {row.name: (row.bytes, name) for name, kept in done.items() for row in kept.deleted}
        rows = [f"{session} ({tell_bytes(size)}, {name} is {getattr(self.config, name):g})" for session, (size, name) in gone.items()]
        text = f"deleted to make room, the oldest first: {', '.join(rows[:MOST_TOLD])}{', ...' if len(rows) > MOST_TOLD else ''}"
        news = self._changed("retention", bool(rows), text, "nothing has to be deleted now", again=True)
        over = {name: kept.bytes for name, kept in done.items() if kept.bytes > getattr(self.config, name) * GIB}
        rows = [f"{tell_bytes(size)} of sessions, {name} is {getattr(self.config, name):g}" for name, size in over.items()]
        text = f"{'; '.join(rows)}: the rest is pinned, open, derived or this run's, and stays"
        return [*news, *self._changed("over_limit", bool(rows), text, "sessions are within their limits again")]

    def _left_out(self, message: Message) -> frozenset[str]:
        """Names of arrays that are not stored: weights always (the checkpoint has them), predicted images unless wanted."""
        if message.kind == "weights" or (message.kind == "prediction" and not self.config.record_predictions):
            return frozenset(message.arrays)
        return frozenset()

    def _news(self) -> list[Committed]:
        if self.writer.commits == self._told_commits:
            return []
        self._told_commits = self.writer.commits
        return [self.writer.committed]

    def _disk_alarm(self) -> list[Alarm]:
        """An alarm when the disk gets low, another when it is well again, nothing in between."""
        free, floor = self.writer.left_bytes, self.config.min_free_gb * GIB
        low = free < floor * (CALM_AT if "disk_low" in self._alarms else WARN_AT)
        text = f"{tell_bytes(free)} free; recording stops at {tell_bytes(floor)}: delete sessions or free disk"
        return self._changed("disk_low", low, text, f"{tell_bytes(free)} free again")

    def _lag_alarm(self) -> list[Alarm]:
        """An alarm when a commit came late, another when the next one does not; nothing is lost meanwhile but time."""
        waited_s, self.writer.waited_s = self.writer.waited_s, 0.0
        if waited_s == 0.0:
            return []
        late = waited_s > LATE_S + LATE_INTERVALS * self.config.sync_interval_s
        text = f"events waited {waited_s:.1f} s for the disk: it is too slow or busy; use a faster one, another codec or a lower rate"
        return self._changed("commit_lag", late, text, "the disk keeps up again")

    def _changed(self, name: str, on: bool, text: str, over: str, again: bool = False) -> list[Alarm]:
        """The alarm when it begins (with `again`, each time that it is said) and when it ends."""
        was = name in self._alarms
        if on == was and not (on and again):
            return []
        (self._alarms.add if on else self._alarms.discard)(name)
        return [Alarm(name=name, text=text if on else over, active=on)]


def _count(counts: dict[str, int], topic: str) -> None:
    counts[topic] = counts.get(topic, 0) + 1
