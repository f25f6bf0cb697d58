"""The launchers of a graph's other hosts: are they there, do they run the same graph, has one of them ended?

Each starts and ends its own nodes, and sees the heartbeats of all. Nothing starts before all launchers have met; a
node is told to go by its own launcher, when the consumers before it go, wherever they are. A launcher that ends says
so, and why, in its heartbeat, and the others end with it. One of which nothing is heard is waited for: the link may heal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from launch.check import launcher_of
from launch.graph import Graph
from launch.stopping import Asks
from protocol.errors import ControlError
from protocol.messages import Message, Status

AGAIN_S = 2.0
FAILED = "failed"


@dataclass
class Host:
    """Another host, by its launcher's heartbeats; `met`: it runs the same graph."""

    name: str
    run: str = ""
    status: Status | None = None
    seen_s: float = 0.0
    asked_s: float = float("-inf")
    met: bool = False
    silent: bool = False


class Hosts:
    """The other hosts; `say` tells a person: level and text."""

    def __init__(self, graph: Graph, bus: Asks, say: Callable[[str, str], None], silent_s: float) -> None:
        self._graph, self._bus, self._say, self._silent_s = graph, bus, say, silent_s
        self._hosts = {launcher_of(name): Host(name) for name in graph.other_hosts}
        self._begun = False

    def take(self, message: Message, now_s: float) -> bool:
        """Whether a message is the heartbeat of another launcher; it is noted."""
        host = self._hosts.get(message.envelope.source)
        if host is None:
            return False
        if isinstance(message.body, Status):
            if host.run != message.envelope.run:
                host.run, host.met, host.asked_s = message.envelope.run, False, float("-inf")
            host.status, host.seen_s = message.body, now_s
        return True

    def met(self) -> bool:
        """Whether every host is there and runs the same graph."""
        return all(host.met for host in self._hosts.values())

    def step(self, now_s: float, ask_s: float) -> tuple[str, str] | None:
        """Look at all; why the run ends, where one of them says so: outcome and reason."""
        if not self._begun:
            self._begun = True
            for host in self._hosts.values():
                self._say("INFO", f"waiting for host {host.name}: start there the same file with `--on {host.name}`")
        for host in self._hosts.values():
            if host.status is None:
                continue
            if (outcome := host.status.outcome) or host.status.final:
                return outcome or "stopped", f"host {host.name}: {host.status.detail or 'its launcher has ended'}"
            heard = now_s - host.seen_s <= self._silent_s
            if heard and not host.met and now_s - host.asked_s >= AGAIN_S and (wrong := self._meet(host, now_s, ask_s)):
                return FAILED, wrong
            self._listen(host, now_s)
        return None

    def _meet(self, host: Host, now_s: float, ask_s: float) -> str:
        """Ask a launcher that is new what it runs; why it does not fit."""
        host.asked_s = now_s
        try:
            said = self._bus.request(launcher_of(host.name), "status", {}, ask_s)
        except ControlError:
            return ""  # asked again
        if said.get("graph") != self._graph.digest():
            return f"host {host.name} runs another graph: start it with the same launch file and the same --set on every host"
        host.met = True
        self._say("INFO", f"host {host.name} is there")
        return ""

    def _listen(self, host: Host, now_s: float) -> None:
        silent = now_s - host.seen_s > self._silent_s
        if silent and not host.silent:
            text = f"host {host.name} is silent: the link is cut, or its launcher was killed; this host waits for it, q ends the run here"
            self._say("WARNING", text)
        elif host.silent and not silent:
            self._say("OVER", f"host {host.name} is heard again")
        host.silent = silent


def answer(graph: Graph) -> dict[str, Any]:
    """What a launcher says of its graph when another asks for its status."""
    return {"graph": graph.digest()} if graph.hosts else {}
