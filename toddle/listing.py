"""`toddle topic list`: one row a topic, from the heartbeats of all nodes and a few seconds of their messages."""

import sys
import time
from collections.abc import Callable

import msgspec
from rich.console import Console
from rich.table import Table

from protocol.clock import NS_PER_S
from protocol.errors import ProtocolError
from protocol.tap import Heard, Tap
from protocol.topics import taken
from protocol.wiring import Peer
from toddle.attach import Attached, BadInput
from toddle.measure import Rates, same_clock, size

LARGE = 1 << 20
ENOUGH_S = 1.5
WIDTH = 160


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A topic. `messages` are those of the publisher's present process; `bytes` is the mean size of those
    that came while listening; `age_s` is since the last one was published, None where none came."""

    topic: str
    kind: str
    publisher: str
    latched: bool
    takers: dict[str, str]
    rate_hz: float | None
    messages: int
    bytes: float | None
    age_s: float | None


class _Came:
    """What came while listening."""

    def __init__(self) -> None:
        self.rates = Rates()
        self.last: dict[str, Heard] = {}
        self._messages: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self._same_clock: dict[str, bool] = {}

    def take(self, heard: Heard) -> None:
        message = heard.message
        if message.kind == "status":
            self.rates.take(message)
            self._same_clock[message.envelope.source] = same_clock(message.envelope, heard.wall_ns, heard.mono_ns)
        self.last[message.topic] = heard
        self._messages[message.topic] = self._messages.get(message.topic, 0) + 1
        self._bytes[message.topic] = self._bytes.get(message.topic, 0) + heard.nbytes

    def mean_bytes(self, topic: str) -> float | None:
        return self._bytes[topic] / self._messages[topic] if topic in self.last else None

    def age_s(self, topic: str, now_ns: int) -> float | None:
        """Since it was published; between machines, whose clocks differ, since it came."""
        heard = self.last.get(topic)
        if heard is None:
            return None
        same = self._same_clock.get(heard.message.envelope.source, False)
        return (now_ns - (heard.message.envelope.mono_ns if same else heard.mono_ns)) / NS_PER_S


def rows(at: Attached, seconds: float) -> list[Row]:
    """Listens until every node has told its numbers twice, at most so long."""
    # what is large is not asked for again: it would go to all who take it
    newest = [name for name, (row, _) in at.topics.items() if row.latched and row.max_bytes <= LARGE]
    names = [node.name for node in at.table.nodes]
    came = _Came()
    begun_s = time.monotonic()
    try:
        with Tap(at.table.nodes, at.topics, newest, own=at.own) as tap:
            while (passed_s := time.monotonic() - begun_s) < seconds and not (passed_s > ENOUGH_S and came.rates.known(names)):
                heard = tap.next(0.1)
                if heard is not None:
                    came.take(heard)
    except ProtocolError as error:
        raise BadInput(str(error)) from None
    now_ns = time.monotonic_ns()
    return [
        Row(
            topic=name, kind=row.kind, publisher=node.name, latched=row.latched, takers=takers(at, row.kind, node),
            rate_hz=came.rates.rate_hz(name), messages=came.rates.messages(name),
            bytes=came.mean_bytes(name), age_s=came.age_s(name, now_ns),
        )
        for name, (row, node) in at.topics.items()
    ]  # fmt: skip


def takers(at: Attached, kind: str, publisher: Peer) -> dict[str, str]:
    """Who takes a topic, and on which lane."""
    peers = [node for node in at.table.nodes if publisher.name in at.table.inputs.get(node.name, ())]
    lanes = {node.name: taken(publisher.kind, node.kind).get(kind) for node in [*peers, at.table.launcher]}
    return {name: lane for name, lane in lanes.items() if lane is not None}


def show(found: list[Row], run: str) -> None:
    """As a table."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"run {run}", title_justify="left")
    for column in ("topic", "rate Hz", "messages", "size", "per s", "age s", "reliable", "latest"):
        table.add_column(column, justify="right" if column in ("rate Hz", "messages", "size", "per s", "age s") else "left", no_wrap=True)
    for row in found:
        lanes = {lane: ", ".join(name for name, its in row.takers.items() if its == lane) for lane in ("reliable", "latest")}
        speed = row.bytes * row.rate_hz if row.bytes is not None and row.rate_hz is not None else None
        table.add_row(
            row.topic, _figure(row.rate_hz, "{:.1f}".format), f"{row.messages:,}", _figure(row.bytes, size),
            _figure(speed, size), _figure(row.age_s, "{:.1f}".format), lanes["reliable"], lanes["latest"],
            style="" if row.messages else "dim",
        )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _figure(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)
