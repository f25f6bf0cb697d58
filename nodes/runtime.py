"""The life of every node: bus, loop, control, signals, logs, end. A node supplies only what is its own.

    class Viewer(Node):
        def setup(self) -> None: ...            # load things; heartbeats go on meanwhile
        def on_frame(self, message) -> None: ...   # one method per kind of message it takes
        def do_save(self, args) -> dict: ...       # one method per control command it accepts
        def tick(self) -> float: ...               # seconds until it wants to be called again
        def close(self) -> None: ...

    if __name__ == "__main__":
        main(Viewer, ViewerConfig)

States: starting (setup runs), ready (every declared subscriber is confirmed), running (the launcher said
`go`), stopping, stopped. Nobody else in toddle writes an endless loop.
"""

import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nodes import metrics, process
from nodes.health import Health
from nodes.logs import start_logging
from protocol.books import Resume
from protocol.bus import Bus
from protocol.control import ControlRequest
from protocol.errors import EncodeError, ProtocolError, one_line
from protocol.messages import Alarm, Body, Control, Message, Metrics
from protocol.metrics_server import MetricsServer
from protocol.wiring import Wiring, read_wiring

EXIT_DONE, EXIT_FAILED, EXIT_BAD_CONFIG, EXIT_LOST, EXIT_DISK = 0, 1, 2, 3, 4
DRAIN_IDLE_S = 1.0
DRAIN_MAX_S = 8.0
MAX_WAIT_S = 0.5
BURST_S = 0.05
TAKEN_LOOK_S = 0.02
WRONG_ARGUMENTS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    msgspec.ValidationError,
    ProtocolError,
)
"""What the arguments of a control request may lead to: the request is refused, and the node goes on."""


class NodeError(Exception):
    """A node cannot go on. The message is one line: what is wrong, where, what to try."""

    def __init__(self, text: str, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class BadMessage(Exception):
    """A message that is whole, and that this node cannot use: it is counted as `content` and passed over."""


@contextmanager
def content_of(message: Message) -> Iterator[None]:
    """Inside, what goes wrong is the fault of what the message says."""
    try:
        yield
    except (ValueError, LookupError) as error:
        text = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise BadMessage(f"{message.topic} {message.envelope.seq} is passed over: {text}") from None


class Node:
    """Base of all nodes; see the module's docstring. `config` is the validated config of its kind."""

    drains = False
    """Whether everything its inputs sent is handled before it ends (recorder, trainer)."""

    def __init__(self, wiring: Wiring, config: Any, bus: Bus) -> None:
        self.wiring = wiring
        self.config = config
        self.bus = bus
        self.name = wiring.name
        self.run_dir = Path(wiring.run_dir)
        self.log = logging.getLogger(wiring.name)
        self.exit_code = EXIT_DONE
        self._said: dict[str, float] = {}
        self._finished = False
        self.alarms: Counter[str] = Counter()
        """How often each was raised."""
        timing = metrics.TIMINGS.get(wiring.kind)
        self.timing = timing.start() if timing else None
        self.heard_ns = 0
        """When the control request that is being done came, by this process's monotonic clock."""

    # -- what a node may supply -------------------------------------------------------------------

    def setup(self) -> None:
        """Make what the node needs; may take minutes."""

    def resume(self) -> Mapping[str, Resume]:
        """By topic, where an earlier process of this node stopped taking."""
        return {}

    def go(self) -> None:
        """Everybody is ready: begin."""

    def tick(self) -> float:
        """Do what is due; returns the seconds until the next call, 0 for at once."""
        return MAX_WAIT_S

    def close(self) -> None:
        """Last words and clean-up; publishing is still possible."""

    def numbers(self) -> Mapping[str, float]:
        """What `nodes/metrics.py` shows of this node; asked for by another thread, at any time."""
        return self._said

    # -- what a node may use ----------------------------------------------------------------------

    def publish(
        self, kind: str, body: Body, arrays: Mapping[str, np.ndarray] | None = None, *,
        episode: int | None = None, step: int | None = None, wait: bool = True,
    ) -> None:  # fmt: skip
        """Publish on this node's topic of `kind`; a message over its limits is logged, not sent."""
        try:
            self.bus.publish(kind, body, arrays or {}, episode=episode, step=step, wait=wait)
        except EncodeError as error:
            self.log.error("not sent: %s", error)

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Publish named numbers; what is not finite is left out."""
        finite = {name: float(value) for name, value in values.items() if np.isfinite(value)}
        self._said = {**self._said, **finite}
        self.publish("metrics", Metrics(values=finite), step=step)

    def took(self, seconds: float) -> None:
        """Once more of what this kind of node times."""
        if self.timing is not None:
            self.timing.observe(seconds)

    def alarm(self, name: str, text: str, active: bool = True) -> None:
        """Tell a person now, from any thread; never waits for room."""
        (self.log.warning if active else self.log.info)("%s", text)
        self.tell_alarm(name, text, active)

    def tell_alarm(self, name: str, text: str, active: bool) -> None:
        """Publish and count an alarm; the log is the caller's."""
        self.alarms[name] += active
        self.publish("alarm", Alarm(name=name, text=text, active=active), wait=False)

    def finish(self, outcome: str, detail: str = "") -> None:
        """The node has done what it was for: the launcher ends the run with this outcome."""
        self.bus.set_state(outcome=outcome, detail=detail)

    def finish_when_taken(self, outcome: str, detail: str = "") -> float:
        """The same, as soon as whoever learns from it or records it has handled all of it; for `tick` to return, again and again."""
        if not self._finished and self.bus.delivered():
            self._finished = True
            self.finish(outcome, detail)
        return MAX_WAIT_S if self._finished else TAKEN_LOOK_S


class _Runner:
    """The one loop."""

    def __init__(self, node: Node, attached: bool) -> None:
        self.node = node
        self.bus = node.bus
        self.attached = attached
        self.handlers = _methods(node, "on_")
        self.commands = _methods(node, "do_")
        self.health = Health(node)
        self.running = False
        self.stopping = False
        self.warned: set[str] = set()

    def run(self) -> None:
        self.node.setup()
        self.bus.subscribe(self.node.resume())
        if self.attached:
            self._begin()
        while not self.stopping:
            wait_s = self.node.tick() if self.running else self._ready_when_confirmed()
            self._take(min(wait_s, MAX_WAIT_S))
            self.health.look(time.monotonic())
            # asked by a signal no request comes; an attached node ends with the run it looks at
            if self.bus.stop_requested or (self.attached and self.bus.inputs_ended()):
                self.stopping = True
        self.bus.set_state("stopping")
        if self.node.drains:
            self._drain()

    def _ready_when_confirmed(self) -> float:
        if self.bus.state == "starting" and not self.bus.status().missing:
            self.bus.set_state("ready")
        return 0.02 if self.bus.state == "starting" else MAX_WAIT_S

    def _take(self, wait_s: float) -> bool:
        """Handle one thing, and for a short while what else is there; whether there was any."""
        thing = self.bus.next(wait_s)
        handled = False
        until_s = time.monotonic() + BURST_S
        while thing is not None:
            handled = True
            if isinstance(thing, ControlRequest):
                self._answer(thing)
            elif handler := self.handlers.get(thing.kind):
                self._handle(handler, thing)
            thing = None if self.stopping or time.monotonic() > until_s else self.bus.next(0)
        return handled

    def _handle(self, handler: Callable[[Message], None], message: Message) -> None:
        try:
            handler(message)
        except BadMessage as error:
            self.bus.refuse("content")
            if message.kind not in self.warned:  # the rest is counted
                self.warned.add(message.kind)
                self.node.log.warning("%s", one_line(str(error)))

    def _drain(self) -> None:
        """Handle what the inputs sent before they ended; bounded, in case one of them hangs."""
        deadline_s = time.monotonic() + DRAIN_MAX_S
        idle_since_s = time.monotonic()
        while time.monotonic() < deadline_s and not self.bus.inputs_ended():
            if self._take(0.05):
                idle_since_s = time.monotonic()
            elif time.monotonic() - idle_since_s > DRAIN_IDLE_S:
                break
        self._take(0.0)  # a message counts as handled when the next is asked for: nobody waits for what `close` still does
        self.bus.give_up_inputs()
        self.health.look(float("inf"))

    def _answer(self, request: ControlRequest) -> None:
        """Do what is asked, answer, and put what was accepted on the record."""
        try:
            request.reply(self._execute(request))
        except NodeError as error:  # the node itself cannot go on
            request.refuse(f"{self.node.name}: {error}")
            raise
        except WRONG_ARGUMENTS as error:
            text = str(error) if not isinstance(error, KeyError) else f"missing argument {error}"
            request.refuse(f"{self.node.name}: {text}")
            return
        except Exception as error:
            request.refuse(f"{self.node.name} has failed: {type(error).__name__}: {error}; see its log")
            raise
        if request.command != "status":  # a question changes nothing
            self.node.publish("control", Control(command=request.command, args=dict(request.args), by=request.by))

    def _begin(self) -> None:
        if not self.running:
            self.running = True
            self.bus.set_state("running")
            self.node.go()

    def _execute(self, request: ControlRequest) -> dict[str, Any]:
        if request.command == "stop":
            self.stopping = True
            return {}
        if request.command == "go":
            self._begin()
            return {}
        if request.command == "status":
            return {"status": msgspec.to_builtins(self.bus.status())}
        command = self.commands.get(request.command)
        if command is None:
            known = ", ".join(sorted([*self.commands, "go", "status", "stop"]))
            raise ValueError(f"unknown command {request.command[:60]!r}; it knows {known}")
        if not self.running and request.command not in self.bus.urgent:
            raise ValueError(f"{request.command[:60]!r} came before the run has begun; ask again once it runs")
        self.node.heard_ns = request.heard_ns
        return command(request.args) or {}


def main(node_class: Callable[[Wiring, Any, Bus], Node], config_class: type[msgspec.Struct]) -> None:
    """Run one node from the wiring file named on the command line, and exit with its code."""
    process.show_stacks()
    process.die_with_parent()
    process.keep_memory()
    if len(sys.argv) != 2:
        sys.stderr.write("give the wiring file that `toddle launch` has written\n")
        sys.exit(EXIT_BAD_CONFIG)
    try:
        wiring = read_wiring(Path(sys.argv[1]))
    except ProtocolError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_BAD_CONFIG)
    try:
        config = msgspec.convert(wiring.params, config_class)
    except msgspec.ValidationError as error:
        sys.stderr.write(f"{wiring.name}: {error}; see the params of kind {wiring.kind} in the launch file\n")
        sys.exit(EXIT_BAD_CONFIG)
    sys.exit(run_node(node_class, wiring, config))


def run_node(node_class: Callable[[Wiring, Any, Bus], Node], wiring: Wiring, config: Any, attached: bool = False) -> int:
    """The life of one node in this process; returns its exit code.

    An `attached` node joins a graph that runs already: it waits for nobody, and ends when its inputs have.
    """
    bus = Bus(wiring)
    process.stop_on_signal(bus, interrupt=attached)
    try:
        bus.start()
    except ProtocolError as error:
        sys.stderr.write(f"{wiring.name}: {error}\n")
        return EXIT_FAILED
    stop_logging = start_logging(wiring, bus)
    node = node_class(wiring, config, bus)
    server = _show_metrics(node)
    drained = True
    try:
        try:
            _Runner(node, attached).run()
        finally:
            node.close()
    except NodeError as error:
        node.log.error("%s", error)
        node.exit_code = error.exit_code
        bus.set_state(outcome="failed", detail=str(error))
    except Exception:
        node.log.exception("%s has failed", wiring.name)
        node.exit_code = EXIT_FAILED
        bus.set_state(outcome="failed", detail="unexpected error, see its log")
    finally:
        stop_logging()  # first: nothing follows the bus's final word
        drained = bus.close()
        if server is not None:
            server.close()
    if node.exit_code == EXIT_DONE and (not drained or any(c.lost for c in bus.status().counts.values())):
        return EXIT_LOST
    return node.exit_code


def _show_metrics(node: Node) -> MetricsServer | None:
    """Serve `/metrics` and say where; a node works without it too."""
    answers: Counter[str] = Counter()
    try:
        server = MetricsServer(metrics.page(node.bus, node.numbers, node.timing, answers, node.alarms).render, answers)
    except OSError as error:
        node.log.warning("no metrics can be scraped: %s", error.strerror)
        return None
    node.bus.set_state(metrics_url=server.url)
    return server


def _methods(node: Node, prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): getattr(node, name) for name in dir(node) if name.startswith(prefix)}


__all__ = ["EXIT_DISK", "EXIT_LOST", "Message", "Node", "NodeError", "main", "run_node"]
