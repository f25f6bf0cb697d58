"""Who is ready, who is told to go, and what is not waited for any more."""

from collections.abc import Callable
from typing import Any

from launch.board import LIVE, Board, NodeView
from launch.fleet import Fleet
from launch.graph import Graph

AGAIN_S = 2.0
DETACH_EVERY_S = 1.0

Request = Callable[[str, str, dict[str, Any], bool], bool]
"""Asks a node: name, command, args, whether to stay quiet when it refuses; whether it did as asked."""


class Readiness:
    """The graph moves when every node is ready; a node that comes back is told to go again."""

    def __init__(self, graph: Graph, board: Board, fleet: Fleet, request: Request) -> None:
        self.graph, self.board, self.fleet, self.request = graph, board, fleet, request
        self._told: dict[str, tuple[str, float]] = {}
        self._detach_s: dict[tuple[str, str], float] = {}

    def ready(self, name: str) -> bool:
        """Set up, and heard by all who are declared to hear it and still live."""
        view = self.board.nodes[name]
        if view.status is None or view.final or (name not in self.fleet.alive and not view.away):
            return False
        return view.status.state in LIVE or self._waits_for_gone(view)

    def may_start(self, name: str) -> bool:
        """Whether everybody it starts after is ready, or will never be."""
        return all(self.ready(other) or _over(self.board.nodes[other]) for other in self.graph.nodes[name].after)

    def step(self, now_s: float) -> bool:
        """Tell go whom it is time to tell, consumers first; whether all have been told for the first time."""
        self._detach(now_s)
        first = self.board.phase == "starting"
        waiting = [view.name for view in self.board.nodes.values() if not (_over(view) or self.ready(view.name))]
        if first and waiting:
            return False
        told = [self._go(name, now_s) for name in self.graph.go_order] if not first else self._go_all(now_s)
        return first and all(told)

    def _go_all(self, now_s: float) -> list[bool]:
        """A source is told when every consumer before it has heard."""
        told: list[bool] = []
        for name in self.graph.go_order:
            if not all(told):
                break
            told.append(self._go(name, now_s))
        return told if len(told) == len(self.graph.nodes) else [False]

    def _go(self, name: str, now_s: float) -> bool:
        view = self.board.nodes[name]
        if _over(view) or not self.ready(name) or view.status is None:
            return True
        if view.away:  # its own launcher tells it
            return view.status.state not in ("ready", "starting")
        run, told_s = self._told.get(name, ("", 0.0))
        if view.status.state not in ("ready", "starting") or (run == view.run and now_s - told_s < AGAIN_S):
            return True
        # who comes back in a run has much to catch up with first; whether it does so is the watch's to say
        quiet = view.status.state == "starting" or self.board.phase == "running"
        if not self.request(name, "go", {}, quiet):
            return False
        self._told[name] = (view.run, now_s)
        return True

    def _waits_for_gone(self, view: NodeView) -> bool:
        missing = set(view.status.missing) if view.status else set()
        return bool(missing) and missing <= {other.name for other in self.board.nodes.values() if _over(other)}

    def _detach(self, now_s: float) -> None:
        """Nobody keeps messages for a node that is gone for good."""
        for gone in [view.name for view in self.board.here if view.gone]:
            for source in self.graph.nodes[gone].inputs:
                view = self.board.nodes[source]
                if not (source in self.fleet.alive or view.away) or view.status is None or gone not in view.status.missing:
                    continue
                if now_s >= self._detach_s.get((view.run, gone), 0.0):
                    done = self.request(source, "detach", {"name": gone}, True)
                    self._detach_s[view.run, gone] = float("inf") if done else now_s + DETACH_EVERY_S


def _over(view: NodeView) -> bool:
    """Whether nobody waits for it any more; of a node that another host starts its last word says so."""
    return view.gone or (bool(view.away) and not view.required and view.final)
