"""What the launcher knows of its nodes, gathered from their messages and processes."""

from dataclasses import dataclass, field
from typing import NamedTuple

from launch.graph import Graph
from protocol.disk import PER_MINUTE, ROOM, DiskUse
from protocol.messages import Alarm, Committed, Gap, LogRecord, Message, Metrics, Status, Tail

FINISHED = ("ended", "learned", "failed")
LIVE = ("ready", "running", "paused")
_MAIN = {"robot": ("frame",), "predictor": ("prediction", "command"), "trainer": ("weights",)}
_ADDED_UP = {"robot": ("steps", "episodes")}
_LEVELS = ("WARNING", "ERROR", "CRITICAL")


class Line(NamedTuple):
    """Something to show above the table."""

    level: str
    text: str


@dataclass
class AlarmBook:
    """One alarm of one node: how often it was raised, what it said last, and whether it is on."""

    raised: int = 0
    text: str = ""
    active: bool = False


@dataclass
class NodeView:
    """One node as the launcher sees it. `state` is its own word, or the launcher's while it does not run.

    `trouble` is the launcher's word for what is wrong with it now, `troubles` counts them: `starting` for
    too long, `hung` (its heart beats, its loop does not come round), `silent` (no heartbeat at all).
    `live_s` is when this process was set up. `away` is the host whose launcher runs it, where that is another.
    """

    name: str
    kind: str
    required: bool
    away: str = ""
    state: str = "waiting"
    status: Status | None = None
    run: str = ""
    dead_runs: set[str] = field(default_factory=set)
    gaps: dict[tuple[str, str, int], Gap] = field(default_factory=dict)
    tails: dict[tuple[str, str], Tail] = field(default_factory=dict)
    status_seq: int = -1
    seen_s: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    earlier: dict[str, float] = field(default_factory=dict)
    rate_hz: float | None = None
    cpu: float = 0.0
    memory_mb: float = 0.0
    exit_codes: list[int] = field(default_factory=list)
    restarts: int = 0
    gone: bool = False
    live_s: float | None = None
    trouble: str = ""
    troubles: dict[str, int] = field(default_factory=dict)
    crashes: list[str] = field(default_factory=list)
    _counted: tuple[float, float] | None = None

    @property
    def final(self) -> bool:
        return self.status is not None and self.status.final

    @property
    def skipped(self) -> int:
        return sum(count.skipped for count in self.status.counts.values()) if self.status else 0

    @property
    def lost(self) -> int:
        return sum(count.lost for count in self.status.counts.values()) if self.status else 0

    def age_s(self, now_s: float) -> float | None:
        """Seconds since its last sign of progress."""
        if self.seen_s is None or self.status is None:
            return None
        return now_s - self.seen_s + self.status.loop_age_s

    @property
    def word(self) -> str:
        """What a person should read as its state."""
        return self.trouble or self.state

    def total(self, name: str) -> float:
        """A count of this process and of those before it."""
        return self.earlier.get(name, 0.0) + self.metrics.get(name, 0.0)

    def new_process(self) -> None:
        """A process starts: what an earlier one said does not count any more."""
        if self.run:
            self.dead_runs.add(self.run)
        for name in _ADDED_UP.get(self.kind, ()):
            self.earlier[name] = self.total(name)
            self.metrics.pop(name, None)
        self.state, self.status, self.run, self.seen_s, self._counted = "starting", None, "", None, None
        self.live_s, self.trouble = None, ""

    def take_status(self, message: Message, now_s: float) -> None:
        run = message.envelope.run
        if run in self.dead_runs or (run == self.run and message.envelope.seq < self.status_seq):
            return
        status: Status = message.body
        self.run, self.status_seq, self.seen_s, self.status = run, message.envelope.seq, now_s, status
        self.gaps.update({(gap.topic, gap.run, gap.first): gap for gap in status.gaps})
        self.tails.update({(tail.topic, tail.run): tail for tail in status.tails})
        if self.live_s is None and status.state in LIVE:
            self.live_s = now_s
        if not self.gone and self.state != "stopping":
            self.state = status.state
        self._measure(now_s)

    def _measure(self, now_s: float) -> None:
        """Its rate: what it says itself, or the growth of its main topic."""
        if "rate_hz" in self.metrics:
            self.rate_hz = self.metrics["rate_hz"]
            return
        count = self._progress()
        if count is None:
            return
        if self._counted is None:
            self._counted = (now_s, count)
            return
        since_s, before = now_s - self._counted[0], self._counted[1]
        if since_s > 0.5 and (count != before or since_s > 5):  # what comes in bursts keeps its rate between them
            self.rate_hz = max(count - before, 0) / since_s
            self._counted = (now_s, count)

    def _progress(self) -> float | None:
        if self.kind == "trainer" and "steps" in self.metrics:
            return self.metrics["steps"]
        if self.status is None:
            return None
        for kind in _MAIN.get(self.kind, ()):
            if (last := self.status.last_seq.get(f"{kind}/{self.name}")) is not None:
                return last + 1
        return float(sum(count.received for count in self.status.counts.values()))


class Board:
    """All nodes, and what the run has reached."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = {
            name: NodeView(name, node.kind, node.required, node.host if node.host != graph.host else "")
            for name, node in graph.nodes.items()
        }
        self.time_limit_s = graph.time_limit_s
        self.phase = "starting"
        self.started_s: float | None = None
        self.ended_s: float | None = None
        self.committed: Committed | None = None
        self.alarms: dict[tuple[str, str], AlarmBook] = {}
        self.disk_use: DiskUse | None = None
        self.scores_at: dict[int, dict[str, float]] = {}
        self._samples: list[tuple[float, float]] = []

    @property
    def here(self) -> list[NodeView]:
        """The nodes of this host."""
        return [view for view in self.nodes.values() if not view.away]

    @property
    def recorded_on(self) -> str:
        """The host that records, where that is another."""
        return next((view.away for view in self.of_kind("recorder")), "")

    def of_kind(self, kind: str) -> list[NodeView]:
        return [view for view in self.nodes.values() if view.kind == kind]

    def metrics_of(self, kind: str) -> dict[str, float]:
        """The newest metrics of the first node of a kind."""
        views = self.of_kind(kind)
        return views[0].metrics if views else {}

    def seconds(self, now_s: float) -> float:
        """Seconds since the nodes were told to go."""
        if self.started_s is None:
            return 0.0
        return (self.ended_s if self.ended_s is not None else now_s) - self.started_s

    def take(self, message: Message, now_s: float) -> Line | None:
        """Books a message; returns what a person should read at once."""
        view = self.nodes.get(message.envelope.source)
        if view is None:
            return None
        body = message.body
        if isinstance(body, Status):
            if view.away and view.run not in ("", message.envelope.run) and message.envelope.run not in view.dead_runs:
                view.new_process()  # its launcher has started it again
                view.restarts += 1
            view.take_status(message, now_s)
        elif isinstance(body, Metrics):
            self._take_metrics(view, body.values, now_s)
            if PER_MINUTE in body.values and self.disk_use is None:
                return self._take_estimate(body.values, now_s)
        elif isinstance(body, Committed):
            self.committed = body
        elif isinstance(body, Alarm):
            book = self.alarms.setdefault((view.name, body.name), AlarmBook())
            book.raised, book.text, book.active = book.raised + body.active, body.text if body.active else book.text, body.active
            return Line("ALARM" if body.active else "OVER", f"{view.name}: {body.text}")
        elif isinstance(body, LogRecord) and body.level in _LEVELS:
            return Line(body.level, f"{view.name}: {body.text}")
        return None

    def disk_trouble(self) -> str:
        """Why the disk will not do until the time limit; empty when it will, and when one of the two is not known."""
        return self.disk_use.too_little_for(self.time_limit_s) if self.disk_use is not None else ""

    def _take_estimate(self, values: dict[str, float], now_s: float) -> Line:
        """What the recorder told of its first frames; it is told once."""
        self.disk_use = DiskUse(bytes_per_minute=values[PER_MINUTE], room_bytes=values.get(ROOM, 0.0))
        trouble = self.disk_trouble()
        return Line("WARNING" if trouble else "INFO", f"{self.disk_use}{'; ' if trouble else ''}{trouble}")

    @property
    def samples_per_s(self) -> float:
        """Samples a second over the whole run."""
        if len(self._samples) < 2 or self._samples[0][1] > self._samples[1][1]:
            return 0.0
        (first_s, first), (last_s, last) = self._samples
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0

    def _take_metrics(self, view: NodeView, values: dict[str, float], now_s: float) -> None:
        view.metrics.update(values)
        if view.kind == "trainer" and "samples" in values:
            self._samples = [*self._samples[:1], (now_s, values["samples"])]
        if view.kind == "trainer" and (mark := view.metrics.pop("mark_s", None)) is not None:
            now = {"steps": self.steps, **{k: v for k, v in view.metrics.items() if k != "steps"}}
            self.scores_at.setdefault(round(mark), now)  # a trainer that comes back counts anew

    @property
    def steps(self) -> int:
        """Steps of the robot so far, over all its processes."""
        return int(sum(view.total("steps") for view in self.of_kind("robot")[:1]))

    @property
    def episodes(self) -> int:
        return int(sum(view.total("episodes") for view in self.of_kind("robot")[:1]))
