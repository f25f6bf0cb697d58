"""What a node's bus has noticed and a person should know: inputs that fell silent, losses, jumps of the clock."""

import time
from typing import TYPE_CHECKING

from protocol.clock import NS_PER_S
from protocol.messages import Gap, Tail

if TYPE_CHECKING:
    from nodes.runtime import Node

LOOK_EVERY_S = 0.5
MAX_GAPS = 10  # in one line
CLOCK_KINDS = ("robot", "recorder")
"""Kinds that raise the alarm when the clock jumps; the others of the same machine only count it."""


class Health:
    """Each thing is told once, and once more when it is over."""

    def __init__(self, node: "Node") -> None:
        self.node, self.bus = node, node.bus
        self._due_s = 0.0
        self._silent: set[str] = set()
        self._gaps = self._tails = self._tails_before = self._jumps = 0

    def look(self, now_s: float) -> None:
        """To be called often; looks twice a second."""
        if now_s < self._due_s:
            return
        self._due_s = now_s + LOOK_EVERY_S
        for warning in self.bus.warnings():
            self.node.log.warning("%s", warning)
        self._inputs()
        gaps, tails = self.bus.gaps(self._gaps), self.bus.tails()
        if gaps:
            more = f"; and {len(gaps) - MAX_GAPS} more" if len(gaps) > MAX_GAPS else ""
            self.node.alarm("data_lost", "; ".join(map(tell_gap, gaps[:MAX_GAPS])) + more)
        self._gaps += len(gaps)
        self._tell_tails(tails)
        if self.bus.clock_jumps > self._jumps:
            self._jumps = self.bus.clock_jumps
            if self.node.wiring.kind in CLOCK_KINDS:
                jump = f"the clock of this machine jumped by {self.bus.clock_jump_s:+.1f} s"
                self.node.alarm("clock_jump", f"{jump}: numbers keep the order, wall clock times before and after do not compare")

    def _tell_tails(self, tails: list[Tail]) -> None:
        """Those of one death come one after the other: told when a look finds no more than the look before."""
        if len(tails) == self._tails_before:
            new = tails[self._tails :]
            for run in dict.fromkeys(tail.run for tail in new):
                self.node.log.warning("%s", tell_tails([tail for tail in new if tail.run == run]))
            self._tails = len(tails)
        self._tails_before = len(tails)

    def _inputs(self) -> None:
        silent = set(self.bus.silent())
        for name in sorted(silent - self._silent):
            self.node.alarm(f"silent_{name}", f"{name} has not been heard for three heartbeats")
        for name in sorted(self._silent - silent):
            self.node.alarm(f"silent_{name}", f"{name} is heard again", active=False)
        self._silent = silent


def tell_gap(gap: Gap) -> str:
    """A gap in words, with its time where it is known."""
    count = gap.last - gap.first + 1
    times = [_clock(ns) for ns in (gap.after_ns, gap.before_ns) if ns]
    when = f", between {times[0]} and {times[1]}" if len(times) == 2 else f", near {times[0]}" if times else ""
    return f"{count} of {gap.topic} never came: {gap.first} to {gap.last}{when}"


def tell_tails(tails: list[Tail]) -> str:
    """The tails of one publisher's run in words."""
    ends = ", ".join(f"{tail.topic} after {tail.last}" for tail in tails)
    return f"{tails[0].topic.partition('/')[2]} has ended without a last word; end unknown: {ends}"


def _clock(t_ns: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(t_ns / NS_PER_S)) + f".{t_ns // 1_000_000 % 1000:03d}"
