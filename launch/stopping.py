"""The ordered end: sources first, the recorder last, everything bounded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from launch.board import Board
from launch.fleet import Fleet
from protocol.errors import ControlError


class Asks(Protocol):
    """The part of the bus that asks a node something."""

    def request(self, peer: str, command: str, args: dict[str, Any] | None = None, timeout_s: float = 2.0) -> dict[str, Any]: ...


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long the launcher is patient, in seconds."""

    stop_s: float = 10.0
    term_s: float = 5.0
    last_words_s: float = 1.0
    ask_s: float = 1.0
    silent_s: float = 5.0
    ready_s: float = 30.0


@dataclass
class _Stop:
    """How far the stop of one node has come."""

    first_s: float
    heard: bool = False
    next_ask_s: float = 0.0
    term_s: float | None = None
    killed: bool = False


@dataclass
class Stopper:
    """Call `step` until it says that nobody is left."""

    tiers: Sequence[Sequence[str]]
    fleet: Fleet
    board: Board
    bus: Asks
    limits: Limits
    say: Callable[[str], None]
    forced: list[str] = field(default_factory=list)
    terminated: set[str] = field(default_factory=set)
    _tier: int = 0
    _begun_s: float | None = None
    _stops: dict[str, _Stop] = field(default_factory=dict)

    def step(self, now_s: float) -> bool:
        """One look at everybody; whether all processes are gone."""
        alive = self.fleet.alive
        self._begun_s = now_s if self._begun_s is None else self._begun_s
        while self._tier < len(self.tiers) and not self._waits(self.tiers[self._tier], alive, now_s):
            self._tier += 1
        asked = [name for tier in self.tiers[: self._tier + 1] for name in tier if name in alive]
        for name in asked:
            self._press(name, self._stops.setdefault(name, _Stop(now_s)), now_s)
        return not alive

    def _waits(self, tier: Sequence[str], alive: Sequence[str], now_s: float) -> bool:
        return any(not self.board.nodes[name].final and (name in alive or self._elsewhere(name, now_s)) for name in tier)

    def _elsewhere(self, name: str, now_s: float) -> bool:
        """Whether another host is about to stop it: it was heard a moment ago, and not for too long."""
        view = self.board.nodes[name]
        heard = bool(view.away) and view.seen_s is not None and now_s - view.seen_s <= self.limits.silent_s
        return heard and now_s - (self._begun_s or now_s) <= self.limits.stop_s

    def _press(self, name: str, stop: _Stop, now_s: float) -> None:
        view = self.board.nodes[name]
        if not stop.heard and stop.term_s is None and now_s >= stop.next_ask_s:
            self._ask(name, stop, now_s)
        if stop.term_s is None and now_s - stop.first_s > self.limits.stop_s:
            self.say(f"{name} has not stopped within {self.limits.stop_s:g} s: terminating it")
            self.forced.append(name)
            self._terminated(name, stop, now_s)
            self.fleet.end(name, f"it had not stopped within {self.limits.stop_s:g} s")
        elif stop.term_s is not None and not stop.killed and now_s - stop.term_s > self.limits.term_s:
            self.say(f"{name} did not end when told to: killing it")
            stop.killed = True
            self.fleet.kill(name)
        view.state = "stopping"

    def _ask(self, name: str, stop: _Stop, now_s: float) -> None:
        view = self.board.nodes[name]
        if view.status is None:  # it does not listen yet
            self._terminate(name, stop, now_s)
            return
        stop.next_ask_s = now_s + 1.0
        try:
            self.bus.request(name, "stop", {}, self.limits.ask_s)
            stop.heard = True
        except ControlError:
            stop.heard = view.final  # asked again in a moment, until its time is up
            if view.status.state == "starting":  # nothing to finish, and it may be busy for minutes
                self._terminate(name, stop, now_s)

    def _terminate(self, name: str, stop: _Stop, now_s: float) -> None:
        self._terminated(name, stop, now_s)
        self.fleet.terminate(name)

    def _terminated(self, name: str, stop: _Stop, now_s: float) -> None:
        stop.term_s = now_s
        self.terminated.add(name)
