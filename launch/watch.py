"""Three words for what is wrong with a process that lives: starting too long, hung, silent.

A heart that beats without progress is not a dead one: the bus thread of a node tells how long its loop has
not come round, so a node that loads a model for a minute is starting, one that waits for ever is hung, and
one of which nothing is heard, because it was stopped or its bus has died, is silent.
"""

from collections.abc import Callable
from typing import NamedTuple

from launch.board import Board, NodeView
from launch.fleet import Fleet
from launch.graph import Graph
from launch.schema import NodeSpec
from launch.stopping import Limits
from protocol.messages import Status

MAX_STEP_S = 1.0


class Trouble(NamedTuple):
    """What is wrong with a node; when it is `fatal`, the process is ended."""

    word: str
    text: str
    fatal: bool


def judge(status: Status | None, quiet_s: float, node: NodeSpec, silent_s: float) -> Trouble | None:
    """From its last status, the seconds since that came (or since its start) and its patience."""
    hang_s = node.hang_s or 0.0
    if status is None or status.state == "starting":
        age_s = max(quiet_s, status.loop_age_s if status else 0.0)
        if 0 < node.start_s < age_s:
            return Trouble("starting", f"is not set up after {age_s:.0f} s", True)
        hang_s = 0.0
    if status is not None and quiet_s > silent_s:
        return Trouble("silent", f"has been silent for {quiet_s:.0f} s", 0 < hang_s < quiet_s)
    if status is not None and 0 < hang_s < status.loop_age_s:
        return Trouble("hung", f"is alive but has made no progress for {status.loop_age_s:.0f} s", True)
    return None


class Watch:
    """Judges every process; says what is wrong, counts it, and ends what is beyond hope."""

    def __init__(self, graph: Graph, board: Board, fleet: Fleet, limits: Limits, say: Callable[[str, str], None]) -> None:
        self.graph, self.board, self.fleet, self.limits, self.say = graph, board, fleet, limits, say
        self._heard: dict[str, tuple[tuple[float, float | None], float]] = {}
        self._ended_s: dict[str, float] = {}
        self._waits_s: dict[str, float] = {}
        self._awake_s = 0.0
        self._last_s: float | None = None

    def step(self, now_s: float) -> None:
        """One look at everybody."""
        # time in which the launcher itself was stopped is nobody's silence
        self._awake_s += min(now_s - self._last_s, MAX_STEP_S) if self._last_s is not None else 0.0
        self._last_s = now_s
        for name in self.fleet.alive:
            view = self.board.nodes[name]
            mark = (self.fleet.started_s[name], view.seen_s)
            if name not in self._heard or self._heard[name][0] != mark:
                self._heard[name] = mark, self._awake_s
            if name in self.fleet.ended:
                self._press(name)
            else:
                self._look(view, self._awake_s - self._heard[name][1])
                self._wait(view)

    def _look(self, view: NodeView, quiet_s: float) -> None:
        found = judge(view.status, quiet_s, self.graph.nodes[view.name], self.limits.silent_s)
        word = found.word if found else ""
        if found and word != view.trouble:
            view.troubles[word] = view.troubles.get(word, 0) + 1
            if not found.fatal:
                self.say("WARNING", f"{view.name} {found.text}")
        elif view.trouble and not found:
            self.say("OVER", f"{view.name} is heard again")
        view.trouble = word
        if found and found.fatal:
            self.say("ALARM", f"{view.name} {found.text}: ending it")
            self._ended_s[view.name] = self._awake_s
            self.fleet.end(view.name, f"it {found.text}")

    def _wait(self, view: NodeView) -> None:
        """A node that is set up and waits for its subscribers says for whom, once."""
        status = view.status
        if status is None or status.state != "starting" or not status.missing or status.loop_age_s > MAX_STEP_S:
            self._waits_s.pop(view.name, None)
        elif self._awake_s - self._waits_s.setdefault(view.name, self._awake_s) > self.limits.ready_s:
            self._waits_s[view.name] = float("inf")
            whom = [f"{name} ({self.board.nodes[name].word})" if name in self.board.nodes else name for name in status.missing]
            self.say("WARNING", f"{view.name} is set up and has waited {self.limits.ready_s:g} s for {', '.join(whom)}")

    def _press(self, name: str) -> None:
        if name in self._ended_s and self._awake_s - self._ended_s[name] > self.limits.term_s:
            del self._ended_s[name]
            self.fleet.kill(name)
