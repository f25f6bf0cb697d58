"""A run from its first process to its last: start, readiness, go, restarts, stop.

One thread; everything that happens is a message, an exit, a key or a time. `run` returns when no process
is left.
"""

import signal
import time
from collections.abc import Callable
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal, Protocol

import msgspec

from launch import crash, keys, rundir
from launch.board import FINISHED, Board, Line, NodeView
from launch.fleet import Exit, Fleet
from launch.graph import Graph
from launch.hosts import Hosts, answer
from launch.readiness import Readiness
from launch.stopping import Asks, Limits, Stopper
from launch.watch import Watch
from protocol.control import ControlRequest
from protocol.errors import ControlError
from protocol.messages import Message, StateName

Outcome = Literal["learned", "time", "ended", "stopped", "lost", "failed"]
EXIT_DONE, EXIT_FAILED, EXIT_BAD_CONFIG, EXIT_LOST, EXIT_DISK = 0, 1, 2, 3, 4
HAPPY = ("learned", "time", "ended", "stopped")
PASSED_ON = (EXIT_BAD_CONFIG, EXIT_DISK)


class LauncherBus(Asks, Protocol):
    """The bus as the supervisor uses it."""

    def next(self, timeout_s: float) -> Message | ControlRequest | None: ...

    def warnings(self) -> list[str]: ...

    def set_state(self, state: StateName | None = None, *, detail: str | None = None, outcome: str | None = None) -> None: ...


class Screen(Protocol):
    """Where a person looks."""

    def update(self, board: Board, now_s: float) -> None: ...

    def say(self, line: Line) -> None: ...

    def read_keys(self) -> str: ...


class End(msgspec.Struct, frozen=True):
    """Why a run ends."""

    outcome: Outcome
    exit_code: int = EXIT_DONE
    why: str = ""


class Supervisor:
    """Runs a graph; `board` says afterwards how it went, `end` why it ended."""

    def __init__(
        self, graph: Graph, fleet: Fleet, bus: LauncherBus, screen: Screen,
        limits: Limits | None = None, clock: Callable[[], float] = time.monotonic,
        each_second: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.graph, self.fleet, self.board = graph, fleet, fleet.board
        self.bus, self.screen, self.clock = bus, screen, clock
        self.limits = limits or Limits()
        self._each_second = each_second
        self.readiness = Readiness(graph, self.board, fleet, self._request)
        self.watch = Watch(graph, self.board, fleet, self.limits, self._say)
        self.hosts = Hosts(graph, bus, self._say, self.limits.silent_s)
        self.end: End | None = None
        self.forced: list[str] = []
        self._due: dict[str, float] = dict.fromkeys(graph.here, 0.0)
        self._failed_s: dict[str, float] = {}
        self._measure_s = 0.0
        self._interrupts = 0

    def run(self) -> End:
        """The whole run."""
        with self._signals():
            try:
                while self.end is None:
                    self._step()
                self._stop(self.end)
            finally:
                self.fleet.kill_all()
                self._collect_words()
                self.fleet.reap(self.clock(), restart=False)
        return self.end

    # -- before the end ---------------------------------------------------------------------------

    def _step(self) -> None:
        self._listen(0.05)
        now = self.clock()
        for gone in self.fleet.reap(now, restart=True):
            self._exited(gone)
        self._other_hosts(now)
        if self.hosts.met():
            self._start_due(now)
        self.watch.step(now)
        for name in self.fleet.alive:
            self._outcome(self.board.nodes[name], now)
        if self.readiness.step(now):
            self.board.phase, self.board.started_s = "running", self.clock()
            self.bus.set_state("running")
        self._look(now)
        limit = self.graph.time_limit_s
        if self.end is None and limit and self.board.seconds(now) >= limit:
            self.finish(End("time", why=f"the time limit of {limit:g} s"))

    def finish(self, end: End) -> None:
        """The run ends; the first reason counts, except that a failure is never hidden."""
        if self.end is None or (end.outcome == "failed" and self.end.outcome != "failed"):
            self.end = end

    def _listen(self, timeout_s: float) -> None:
        """Take what has come, and wait a moment when nothing has."""
        for text in self.bus.warnings():
            self._say("WARNING", f"launcher: {text}")
        for _ in range(500):
            thing = self.bus.next(timeout_s)
            if thing is None:
                return
            timeout_s = 0.0
            if isinstance(thing, ControlRequest):
                self._answer(thing)
            elif self.hosts.take(thing, self.clock()):
                continue
            elif (line := self.board.take(thing, self.clock())) is not None:
                self.screen.say(line)

    def _answer(self, request: ControlRequest) -> None:
        if request.command == "stop":
            request.reply()
            self.finish(End("stopped", why=f"{request.by} asked for it"))
        elif request.command == "status":
            states = {name: view.word for name, view in self.board.nodes.items()}
            request.reply({"phase": self.board.phase, "nodes": states, **answer(self.graph)})
        else:
            request.refuse(f"launcher: unknown command {request.command!r}; it knows status, stop")

    def _other_hosts(self, now: float) -> None:
        """End when another host does."""
        said = self.hosts.step(now, self.limits.ask_s)
        if said is None:
            return
        outcome, why = said
        if outcome in HAPPY:
            self.finish(End(outcome, why=why))  # type: ignore[arg-type]  # one of HAPPY
        else:
            self.finish(End("failed", EXIT_FAILED, why))

    def _start_due(self, now: float) -> None:
        for name, due in list(self._due.items()):
            if now < due or self.end is not None:
                continue
            if self.readiness.may_start(name):
                del self._due[name]
                self.fleet.start(name, now)

    def _exited(self, gone: Exit) -> None:
        view = self.board.nodes[gone.name]
        self._listen(0.0)  # its last words may have come before its end was seen
        text = self._told(gone)
        if gone.again_s is not None:
            view.state = "restarting"
            self._due[gone.name] = gone.again_s
            self._say("WARNING", text)
            return
        view.gone = True
        view.state = "failed" if crash.crashed(gone) else "stopped"
        if view.state == "failed":
            self._say("ERROR" if view.required else "WARNING", text)
            if view.required:
                code = gone.code if gone.code in PASSED_ON else EXIT_FAILED
                self.finish(End("failed", code, text))
        elif view.required:
            said = view.status.outcome if view.status else ""
            self.finish(End("learned" if said == "learned" else "ended", why=f"{gone.name} {crash.how(gone)}"))

    def _told(self, gone: Exit, when: str = "") -> str:
        """One line about an end; about a crash it says what comes now and where the report is."""
        words = self.fleet.written[gone.name].last_words() if gone.code > 0 and not gone.why else ""
        text = f"{gone.name} {crash.how(gone)}{when}{': ' + words if words else ''}"
        if gone.again_s is not None or gone.used_up is not None:
            text = f"{text}; {crash.after(gone, self.clock())}"
        if not crash.crashed(gone):
            return text
        try:
            path = crash.report(self.fleet, self.board.nodes[gone.name], gone, self.clock())
        except OSError as error:
            return f"{text}; no report: {error}"
        return f"{text}; see {rundir.shown(path)}"

    def _outcome(self, view: NodeView, now: float) -> None:
        outcome = view.status.outcome if view.status else ""
        if outcome not in FINISHED or not view.required:
            return
        detail = view.status.detail if view.status else ""
        if outcome == "learned":
            self.finish(End("learned", why=detail))
        elif outcome == "ended":
            self.finish(End("ended", why=detail))
        elif now - self._failed_s.setdefault(view.run, now) > 3.0:  # else its exit says more
            self.finish(End("failed", EXIT_FAILED, f"{view.name}: {detail}"))

    # -- a person ---------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        for key in self.screen.read_keys():
            self._pressed(key)
        if now >= self._measure_s:
            self._measure_s = now + 1.0
            self.fleet.measure()
            self._each_second()
        self.screen.update(self.board, now)

    def _pressed(self, key: str) -> None:
        paused = any(view.state == "paused" for view in self.board.of_kind("robot"))
        asked = keys.ask(key, paused)
        if asked is None:
            return
        if asked.kind == "launcher":
            self.finish(End("stopped", why="key q"))
        for view in self.board.of_kind(asked.kind):
            self._request(view.name, asked.command, asked.args)

    def _request(self, name: str, command: str, args: dict[str, Any], quiet: bool = False) -> bool:
        try:
            self.bus.request(name, command, args, self.limits.ask_s)
        except ControlError as error:
            if not quiet:
                self._say("WARNING", f"{command}: {error}")
            return False
        return True

    def _say(self, level: str, text: str) -> None:
        self.screen.say(Line(level, text))

    # -- the end ----------------------------------------------------------------------------------

    def _stop(self, end: End) -> None:
        self.board.phase, self.board.ended_s = "stopping", self.clock()
        self.bus.set_state("stopping", outcome=end.outcome, detail=end.why or end.outcome)  # the other hosts end with this one
        self._say("INFO", "stopping" if end.outcome == "failed" else f"stopping: {end.why or end.outcome}")
        stopper = Stopper(self.graph.stop_tiers, self.fleet, self.board, self.bus, self.limits, lambda text: self._say("WARNING", text))
        self.forced = stopper.forced
        while not stopper.step(self.clock()):
            self._listen(0.05)
            for gone in self.fleet.reap(self.clock(), restart=False):
                self._ended(gone, stopper.terminated)
            self._look(self.clock())

    def _ended(self, gone: Exit, ended_by_us: set[str]) -> None:
        view = self.board.nodes[gone.name]
        view.gone, view.state = True, "stopped"
        if self._interrupts > 1 or (gone.name in ended_by_us and not gone.why):
            return
        if crash.crashed(gone):
            view.state = "failed"
            text = self._told(gone, " while stopping" if not gone.why else "")
            self._say("ERROR", text)
            if gone.name in ended_by_us:
                return
            if view.required:
                self.finish(End("failed", gone.code if gone.code in PASSED_ON else EXIT_FAILED, text))

    def _collect_words(self) -> None:
        """Last heartbeats may still be under way when the last process has gone."""
        deadline = self.clock() + self.limits.last_words_s
        ended_well = [v for v in self.board.nodes.values() if v.exit_codes and v.exit_codes[-1] in (EXIT_DONE, EXIT_LOST)]
        while self.clock() < deadline and not all(view.final for view in ended_well):
            self._listen(0.02)
        self._listen(0.0)

    @contextmanager
    def _signals(self) -> Any:
        """Ctrl-C once: an orderly stop; again: everything ends at once."""

        def interrupt(signum: int, frame: FrameType | None) -> None:
            self._interrupts += 1
            self.finish(End("stopped", why="Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name))
            if self._interrupts > 1:
                self.fleet.kill_all()

        wanted = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {one: signal.signal(one, interrupt) for one in wanted}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
