"""What a run will need of the disk, told from its first frames as they were stored."""

from protocol.disk import DiskUse
from protocol.messages import Message

LEAST_FRAMES, LEAST_S = 10, 2.0
"""The estimate is made when this many frames of one robot are stored, and this time lies between the first and the last."""
ONCE = ("robot", "probe")
"""Said once and not again: not part of what a minute costs."""


class _Frames:
    """The frames of one topic; times are the robot's."""

    def __init__(self, first_ns: int) -> None:
        self.first_ns = self.last_ns = first_ns
        self.count = self.bytes = 0

    @property
    def seconds(self) -> float:
        return (self.last_ns - self.first_ns) / 1e9


class Estimator:
    """Told of every event with its stored bytes, until it knows: then `bytes_per_minute` is no longer None."""

    def __init__(self) -> None:
        self.bytes_per_minute: float | None = None
        self._rates_hz: dict[str, float] = {}
        self._frames: dict[str, _Frames] = {}
        self._other_bytes = 0

    def take(self, message: Message, stored: int) -> None:
        """One event that takes `stored` bytes."""
        if self.bytes_per_minute is not None:
            return
        source = message.envelope.source
        if message.kind == "robot":
            self._rates_hz[source] = message.body.rate_hz
        if message.kind == "frame":
            frames = self._frames.setdefault(message.topic, _Frames(message.envelope.mono_ns))
            frames.last_ns = message.envelope.mono_ns
            frames.count += 1
            frames.bytes += stored
            if frames.count >= LEAST_FRAMES and frames.seconds >= LEAST_S:
                self.bytes_per_minute = self._estimate(frames.seconds)
        elif self._frames and message.kind not in ONCE:
            self._other_bytes += stored

    def use(self, room_bytes: float) -> DiskUse | None:
        """The estimate with the room there is; None while it is not known."""
        if self.bytes_per_minute is None:
            return None
        return DiskUse(bytes_per_minute=self.bytes_per_minute, room_bytes=max(room_bytes, 0.0))

    def _estimate(self, seconds: float) -> float:
        """A robot that says its rate will reach it, however slowly its first frames came; what is faster than it said stays so."""
        per_s = self._other_bytes / seconds
        for topic, frames in self._frames.items():
            came_hz = (frames.count - 1) / frames.seconds if frames.seconds > 0 else 0.0
            said_hz = self._rates_hz.get(topic.partition("/")[2], 0.0)
            per_s += frames.bytes / frames.count * max(came_hz, said_hz)
        return per_s * 60
