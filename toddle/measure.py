"""What can be known of a topic from its messages, and of all topics from heartbeats. Pure: no sockets, no clocks.

A tap may miss messages, so rates come from the publisher's own numbers and clock: numbers per second
between the first and the last message that came.
"""

import math
from collections import deque

from protocol.clock import NS_PER_S
from protocol.messages import Envelope, Message, Status

SAME_CLOCK_NS = NS_PER_S
WINDOW_NS = 5 * NS_PER_S
SHORTEST_NS = NS_PER_S // 2
KEPT = 100_000


class Pace:
    """How often a topic is published; intervals only between messages whose numbers follow each other."""

    def __init__(self) -> None:
        self.messages = 0
        self._run, self._seq, self._ns = "", -1, 0
        self._steps, self._span_ns = 0, 0
        self._intervals, self._mean_ns, self._squares = 0, 0.0, 0.0
        self._shortest_ns, self._longest_ns = math.inf, 0.0

    def add(self, envelope: Envelope) -> None:
        self.messages += 1
        if envelope.run == self._run:
            interval_ns = envelope.mono_ns - self._ns
            self._steps += envelope.seq - self._seq
            self._span_ns += interval_ns
            if envelope.seq == self._seq + 1:
                self._interval(interval_ns)
        self._run, self._seq, self._ns = envelope.run, envelope.seq, envelope.mono_ns

    def _interval(self, ns: float) -> None:
        self._intervals += 1
        before = ns - self._mean_ns
        self._mean_ns += before / self._intervals
        self._squares += before * (ns - self._mean_ns)
        self._shortest_ns, self._longest_ns = min(self._shortest_ns, ns), max(self._longest_ns, ns)

    @property
    def rate_hz(self) -> float | None:
        return self._steps * NS_PER_S / self._span_ns if self._span_ns > 0 else None

    def line(self) -> str:
        if self.rate_hz is None:
            return f"{self.messages} message{'s' if self.messages != 1 else ''}: two that follow make a rate"
        text = f"{self.rate_hz:.2f} Hz"
        if self._intervals:
            jitter_ms = math.sqrt(self._squares / self._intervals) / 1e6
            text += f"  interval {self._shortest_ns / 1e6:.1f} to {self._longest_ns / 1e6:.1f} ms, std {jitter_ms:.2f} ms"
        return f"{text}  {self.messages:,} messages"


class Volume:
    """How many bytes a second a topic is: the mean size of what came, at the rate of its numbers."""

    def __init__(self) -> None:
        self.pace = Pace()
        self._bytes, self._smallest, self._largest = 0, 0, 0

    def add(self, envelope: Envelope, nbytes: int) -> None:
        self.pace.add(envelope)
        self._smallest = min(self._smallest, nbytes) if self._bytes else nbytes
        self._largest = max(self._largest, nbytes)
        self._bytes += nbytes

    @property
    def mean(self) -> float | None:
        return self._bytes / self.pace.messages if self.pace.messages else None

    def line(self) -> str:
        mean, rate_hz = self.mean, self.pace.rate_hz
        if mean is None or rate_hz is None:
            return f"{self._bytes:,} bytes in {self.pace.messages} messages: two that follow make a rate"
        sizes = f"a message {size(mean)} ({size(self._smallest)} to {size(self._largest)})"
        return f"{size(mean * rate_hz)}/s  {sizes}  {rate_hz:.2f} Hz  {self.pace.messages:,} messages"


class Latency:
    """From publish to receive, and from capture to receive, of the newest many messages.

    On one machine by the monotonic clock, which both sides share; between machines only wall clocks can be
    compared, and they differ.
    """

    def __init__(self) -> None:
        self.messages = 0
        self._same: bool | None = None
        self._publish_ns: deque[int] = deque(maxlen=KEPT)
        self._capture_ns: deque[int] = deque(maxlen=KEPT)

    def clocks(self, envelope: Envelope, wall_ns: int, mono_ns: int) -> None:
        """Learn from a heartbeat whether the publisher's clocks are ours."""
        self._same = same_clock(envelope, wall_ns, mono_ns)

    def add(self, envelope: Envelope, wall_ns: int, mono_ns: int) -> None:
        self.messages += 1
        self._publish_ns.append(mono_ns - envelope.mono_ns)
        self._capture_ns.append(wall_ns - envelope.t_ns)

    def line(self) -> str:
        if not self.messages:
            return "no message"
        if self._same is False:
            return f"capture to receive by two wall clocks, which differ: {_spread(self._capture_ns)}  {self.messages:,} messages"
        return f"publish to receive {_spread(self._publish_ns)}  age {_spread(self._capture_ns)}  {self.messages:,} messages"


def _spread(values_ns: deque[int]) -> str:
    ordered = sorted(values_ns)
    figures = {name: ordered[min(int(len(ordered) * part), len(ordered) - 1)] for name, part in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
    return " ".join(f"{name} {ns / 1e6:.2f}" for name, ns in {**figures, "max": ordered[-1]}.items()) + " ms"


def same_clock(envelope: Envelope, wall_ns: int, mono_ns: int) -> bool:
    """Whether a heartbeat's clocks are ours: the wall clock stands as far from the monotonic one, which starts with the machine."""
    return abs((envelope.t_ns - envelope.mono_ns) - (wall_ns - mono_ns)) < SAME_CLOCK_NS


class Rates:
    """Messages and rate of every topic, by what heartbeats tell of its last number."""

    def __init__(self) -> None:
        self._marks: dict[str, deque[tuple[int, dict[str, int]]]] = {}
        self._runs: dict[str, str] = {}

    def take(self, message: Message) -> None:
        """A `status` message."""
        status: Status = message.body
        source, envelope = message.envelope.source, message.envelope
        if self._runs.get(source) != envelope.run:
            self._runs[source] = envelope.run
            self._marks[source] = deque()
        if not status.last_seq:  # its very first heartbeat, or books too large for one
            return
        marks = self._marks[source]
        marks.append((envelope.mono_ns, status.last_seq))
        while marks[-1][0] - marks[0][0] > WINDOW_NS:
            marks.popleft()

    def messages(self, topic: str) -> int:
        """Published in the publisher's present process."""
        marks = self._marks.get(topic.partition("/")[2])
        return marks[-1][1].get(topic, -1) + 1 if marks else 0

    def rate_hz(self, topic: str) -> float | None:
        """Over the last few seconds; None before two heartbeats."""
        marks = self._marks.get(topic.partition("/")[2])
        if not marks or marks[-1][0] - marks[0][0] < SHORTEST_NS:
            return None
        (first_ns, first), (last_ns, last) = marks[0], marks[-1]
        return (last.get(topic, -1) - first.get(topic, -1)) * NS_PER_S / (last_ns - first_ns)

    def known(self, sources: list[str]) -> bool:
        """Whether all of these have a rate."""
        return all((marks := self._marks.get(name)) and marks[-1][0] - marks[0][0] >= SHORTEST_NS for name in sources)


def size(nbytes: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} GB"
