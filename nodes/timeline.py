"""When the messages of a recording were sent, on one line, whatever became of clocks and processes. Pure."""

from protocol.clock import NS_PER_S
from protocol.messages import Envelope


class Timeline:
    """Seconds since the first message, by each run's monotonic clock from its first message on: wall clocks may jump."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._starts_s: dict[str, float] = {}

    def at(self, envelope: Envelope, longest_s: float = float("inf")) -> float:
        """When this message is due: never before the one before it, and at most `longest_s` later."""
        mono_s = envelope.mono_ns / NS_PER_S
        at_s = mono_s - self._starts_s.setdefault(envelope.run, mono_s - self.now_s)
        if at_s > self.now_s + longest_s:
            at_s = self.now_s + longest_s
            self._starts_s = {envelope.run: mono_s - at_s}  # after a pause all begin anew
        self.now_s = max(at_s, self.now_s)
        return self.now_s

    def jump(self, seconds: float = 0.0) -> None:
        """What comes next is due `seconds` after what came last, wherever in the recording it is."""
        self.now_s += seconds
        self._starts_s = {}
