"""What `toddle top` shows: the launcher's own board, fed by a tap, and what the machine says of the processes."""

import time
from collections import deque

import msgspec
import psutil
from rich.console import Group
from rich.table import Table
from rich.text import Text

from launch.board import Board, NodeView
from launch.graph import Graph
from launch.schema import NodeSpec
from launch.screen import clean, colour
from protocol.clock import NS_PER_S
from protocol.tap import Heard
from toddle.attach import Attached
from toddle.drawing import HEALTH
from toddle.measure import Rates, same_clock, size

SILENT_S = 3.0
TAPPED = ("status", "metrics", "alarm")
LINES = 5


class NodeLook(msgspec.Struct, frozen=True, kw_only=True):
    """One node now. `age_s` is since its last progress; `weights_age_s` since it took other weights, once that was seen."""

    node: str
    kind: str
    state: str
    detail: str
    rate_hz: float | None
    age_s: float | None
    cpu_percent: float | None
    memory_mb: float | None
    skipped: int
    lost: int
    refused: int
    queue_bytes: int
    weights_version: int | None
    weights_age_s: float | None


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """The graph now; `topics` maps names to messages a second."""

    run: str
    nodes: list[NodeLook]
    topics: dict[str, float | None]
    alarms: list[str]


class Overview:
    """Takes messages, and is looked at."""

    def __init__(self, at: Attached) -> None:
        self.rates = Rates()
        self._at, self._begun_s = at, time.monotonic()
        self._board = Board(graph_of(at))
        self._alarms: deque[str] = deque(maxlen=LINES)
        self._weights: dict[str, tuple[int, float | None]] = {}
        self._same_clock: dict[str, bool] = {}
        self._processes = Processes(at)

    def take(self, heard: Heard) -> None:
        """A message of one of the kinds in `TAPPED`."""
        message, envelope = heard.message, heard.message.envelope
        name = envelope.source
        if message.kind == "status":
            self.rates.take(message)
            self._same_clock[name] = same_clock(envelope, heard.wall_ns, heard.mono_ns)
        # a heartbeat that was sent again is older than its arrival
        said_s = (envelope.mono_ns if self._same_clock.get(name) else heard.mono_ns) / NS_PER_S
        line = self._board.take(message, said_s)
        if line is not None:
            self._alarms.append(f"{line.level} {line.text}")
        if version := int(getattr(message.body, "values", {}).get("weights_version", 0)):
            before, since_s = self._weights.get(name, (version, None))
            self._weights[name] = version, since_s if before == version else said_s

    def complete(self) -> bool:
        """Whether the rates of all nodes are known."""
        views = self._board.nodes.values()
        return self.rates.known(list(self._board.nodes)) and all(view.rate_hz is not None for view in views)

    def look(self) -> Look:
        now_s = time.monotonic()
        usage = self._processes.usage()
        nodes = [self._node(view, now_s, usage.get(view.name, (None, None))) for view in self._board.nodes.values()]
        topics = {name: self.rates.rate_hz(name) for name in self._at.topics}
        return Look(run=self._at.table.run, nodes=nodes, topics=topics, alarms=list(self._alarms))

    def _node(self, view: NodeView, now_s: float, usage: tuple[float | None, float | None]) -> NodeLook:
        silent = now_s - (view.seen_s or self._begun_s) > SILENT_S and not view.final
        status = view.status
        version, since_s = self._weights.get(view.name, (None, None))
        return NodeLook(
            node=view.name, kind=view.kind, state="silent" if silent else view.state, detail=status.detail if status else "",
            rate_hz=view.rate_hz, age_s=view.age_s(now_s), cpu_percent=usage[0], memory_mb=usage[1],
            skipped=view.skipped, lost=view.lost, refused=sum(status.refused.values()) if status else 0,
            queue_bytes=status.queue_bytes if status else 0, weights_version=version,
            weights_age_s=None if since_s is None else now_s - since_s,
        )  # fmt: skip


class Processes:
    """CPU and memory of the nodes' process trees, where they run on this machine."""

    def __init__(self, at: Attached) -> None:
        self._launcher = at.table.pid if at.folder is not None else 0
        self._wiring = {node.name: f"{node.name}.json" for node in at.table.nodes}
        self._seen: dict[int, psutil.Process] = {}
        self.usage()  # the first figure of psutil is always 0: it counts since the call before

    def usage(self) -> dict[str, tuple[float, float]]:
        """CPU in percent of one core since the last call, and memory in MB."""
        found: dict[str, tuple[float, float]] = {}
        for child in self._children(self._launcher):
            try:
                arguments = child.cmdline()
                name = next((name for name, file in self._wiring.items() if arguments and arguments[-1].endswith(f"wiring/{file}")), None)
            except psutil.Error:
                continue
            if name is not None:
                found[name] = self._tree(child)
        return found

    def _tree(self, top: psutil.Process) -> tuple[float, float]:
        cpu = memory = 0.0
        for process in [top, *self._children(top.pid, recursive=True)]:
            known = self._seen.setdefault(process.pid, process)
            try:
                cpu += known.cpu_percent(None)
                memory += known.memory_info().rss / 1e6
            except psutil.Error:
                self._seen.pop(process.pid, None)
        return cpu, memory

    @staticmethod
    def _children(pid: int, recursive: bool = False) -> list[psutil.Process]:
        try:
            return psutil.Process(pid).children(recursive) if pid > 0 else []
        except psutil.Error:
            return []


def graph_of(at: Attached) -> Graph:
    """As much of the graph as its table tells."""
    nodes = {node.name: NodeSpec(kind=node.kind, inputs=at.table.inputs.get(node.name, [])) for node in at.table.nodes}
    return Graph(file="", nodes=nodes, configs={}, args={}, off=[], seed=0, time_limit_s=0.0, description="")


def picture(look: Look) -> Group:
    """Nodes, then the topics that carry data, then the newest alarms."""
    nodes = Table(box=None, pad_edge=False, header_style="bold", title=f"run {look.run}", title_justify="left")
    columns = ("node", "state", "rate Hz", "age s", "CPU %", "MB", "skipped", "lost", "refused", "queue", "weights")
    for index, column in enumerate(columns):
        nodes.add_column(column, justify="left" if index < 2 else "right", no_wrap=True)
    for one in look.nodes:
        rests = one.state in ("stopped", "waiting", "silent")
        nodes.add_row(
            one.node, Text(one.state, style="bold red" if one.state == "silent" else colour(one.state)),
            "" if rests else _figure(one.rate_hz, 1), _figure(one.age_s, 1), _figure(one.cpu_percent, 0), _figure(one.memory_mb, 0),
            f"{one.skipped:,}", Text(f"{one.lost:,}", style="bold red" if one.lost else ""), f"{one.refused:,}",
            size(one.queue_bytes) if one.queue_bytes else "0",
            _weights(one),
        )  # fmt: skip
    flows = [(name, rate) for name, rate in look.topics.items() if name.partition("/")[0] not in HEALTH and rate]
    topics = Text("topics, messages a second: ", style="bold")
    topics.append(", ".join(f"{name} {rate:.1f}" for name, rate in flows) or "none moves", style="not bold")
    details = [Text(clean(f"{one.node}: {one.detail}"), style="magenta") for one in look.nodes if one.detail]
    return Group(nodes, Text(), topics, *details, *(Text(clean(text), style="red") for text in look.alarms))


def _weights(one: NodeLook) -> str:
    if one.weights_version is None:
        return ""
    return f"v{one.weights_version}" + ("" if one.weights_age_s is None else f", {one.weights_age_s:.0f} s")


def _figure(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
