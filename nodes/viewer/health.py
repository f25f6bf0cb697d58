"""How every node is, read from its heartbeats.

board = HealthBoard({"robot": "robot"})
board.hear(message, now_mono_s)
for node in board.nodes.values(): node.age_s(now_mono_s), node.rate_hz, node.lost
"""

from collections.abc import Mapping

from protocol.messages import Message, Status

STALE_S = 3.0
"""A node is stale when its heartbeat (1 Hz) is older than this."""

_OWN_WORK = ("frame", "prediction")


class NodeHealth:
    """One node: its last heartbeat and the rate between the last two."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.status: Status | None = None
        self.heard_mono_s: float | None = None
        self.rate_hz: float | None = None
        self._run = ""
        self._mark: tuple[int, int] | None = None  # (source's mono_ns, messages)

    def hear(self, message: Message, now_mono_s: float) -> None:
        """Take a `status` message."""
        status: Status = message.body
        envelope = message.envelope
        if envelope.run != self._run:
            self._run, self._mark, self.rate_hz = envelope.run, None, None
        mark = (envelope.mono_ns, _work(status))
        if self._mark is not None and mark[0] > self._mark[0]:
            self.rate_hz = max(0.0, (mark[1] - self._mark[1]) * 1e9 / (mark[0] - self._mark[0]))
        self._mark = mark
        self.status, self.kind, self.heard_mono_s = status, status.kind, now_mono_s

    @property
    def messages(self) -> int:
        """Messages published and received."""
        if self.status is None:
            return 0
        published = sum(seq + 1 for seq in self.status.last_seq.values())
        return published + sum(count.received for count in self.status.counts.values())

    @property
    def skipped(self) -> int:
        return sum(count.skipped for count in self.status.counts.values()) if self.status else 0

    @property
    def lost(self) -> int:
        return sum(count.lost for count in self.status.counts.values()) if self.status else 0

    def age_s(self, now_mono_s: float) -> float | None:
        """Seconds since the last heartbeat; None before the first."""
        return None if self.heard_mono_s is None else max(0.0, now_mono_s - self.heard_mono_s)

    def condition(self, now_mono_s: float) -> str:
        """The state's name, or "waiting" before the first heartbeat, or "silent" when heartbeats stopped."""
        if self.status is None:
            return "waiting"
        ended = self.status.final or self.status.state == "stopped"
        if not ended and (self.age_s(now_mono_s) or 0.0) > STALE_S:
            return "silent"
        return "stopped" if ended else self.status.state


class HealthBoard:
    """All nodes, those of the graph first, in its order; others as they are heard."""

    def __init__(self, nodes: Mapping[str, str]) -> None:
        self.nodes = {name: NodeHealth(name, kind) for name, kind in nodes.items()}

    def hear(self, message: Message, now_mono_s: float) -> None:
        """Take a `status` message of any node."""
        name = message.topic.partition("/")[2] or message.envelope.source
        self.nodes.setdefault(name, NodeHealth(name, message.body.kind)).hear(message, now_mono_s)

    def of_kind(self, kind: str) -> NodeHealth | None:
        """The first node of a kind, or None."""
        return next((node for node in self.nodes.values() if node.kind == kind), None)


def _work(status: Status) -> int:
    """What a node's rate counts: frames or predictions that it publishes, else messages it receives."""
    own = [seq + 1 for topic, seq in status.last_seq.items() if topic.partition("/")[0] in _OWN_WORK]
    return sum(own) if own else sum(count.received for count in status.counts.values())
