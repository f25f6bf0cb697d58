"""What heartbeats, metrics and logs cost a node at 30 Hz: two graphs at the same time, one with all of it, one with none.

Both do the same work: a node that publishes 30 frames a second, and one that takes them (and, with `all`, takes every
heartbeat, number and log line too, as a recorder does). The metrics pages are scraped every 5 s, as `prometheus.yml` has it.
"""

import json
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from bench.recorder import Process
from bench.recorder_peers import ends
from protocol.control import ask
from protocol.errors import ControlError
from protocol.wiring import Peer, Subscriber, Wiring

MODES = ("all", "none")
SCRAPE_S = 5.0
START_S = 30.0
MOST_SHARE = 0.02


class _Graph:
    """A publishing node and one that takes, in one mode."""

    def __init__(self, folder: Path, mode: str, context: zmq.Context[Any]) -> None:
        self.context = context
        self.at = {name: ends(str(folder), name) for name in ("source", "sink")}
        wirings = [
            Wiring(run="bench", run_dir=str(folder), name="sink", kind="recorder", endpoints=self.at["sink"],
                   inputs=[Peer("source", "robot", self.at["source"])]),
            Wiring(run="bench", run_dir=str(folder), name="source", kind="robot", endpoints=self.at["source"],
                   subscribers=[Subscriber("sink", "recorder")]),
        ]  # fmt: skip
        self.nodes = {}
        for wiring in wirings:
            wiring.write(folder / f"{wiring.name}.json")
            self.nodes[wiring.name] = Process("bench.overhead_peers", str(folder / f"{wiring.name}.json"), mode)

    def begin(self) -> None:
        until_s = time.monotonic() + START_S
        while self.ask("source", "status")["status"]["state"] != "ready":
            assert time.monotonic() < until_s, "the nodes did not find each other"
            time.sleep(0.05)
        self.urls = [self.ask(name, "status")["status"]["metrics_url"] for name in self.nodes]
        for name in self.nodes:
            self.ask(name, "go")

    def scrape(self) -> None:
        for url in filter(None, self.urls):
            with urllib.request.urlopen(url, timeout=START_S) as page:
                page.read()

    def cpu_s(self) -> dict[str, float]:
        return {name: node.cpu_s() for name, node in self.nodes.items()}

    def ask(self, name: str, command: str) -> dict[str, Any]:
        return ask(self.context, self.at[name].control, command, {}, "bench", START_S)

    def end(self) -> None:
        for name in ("source", "sink"):
            try:
                self.ask(name, "stop")
                self.nodes[name].end()
            except ControlError:
                self.nodes[name].end(0.0)


def measure(seconds: float, rounds: int) -> dict[str, Any]:
    """Per node the share of a core in each mode, and how much of it is telling."""
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    graphs: dict[str, _Graph] = {}
    with zmq.Context() as context:
        try:
            for mode in MODES:
                (folder / mode).mkdir(mode=0o700)
                graphs[mode] = _Graph(folder / mode, mode, context)
            for graph in graphs.values():
                graph.begin()
            turns = [_turn(graphs, seconds) for _ in range(rounds)]
        finally:
            for graph in graphs.values():
                graph.end()
            shutil.rmtree(folder)
    shares = {mode: {name: [turn[mode][name] for turn in turns] for name in turns[0][mode]} for mode in MODES}
    told = {name: [a - b for a, b in zip(shares["all"][name], shares["none"][name], strict=True)] for name in shares["all"]}
    return {**shares, "told": told}


def _turn(graphs: dict[str, _Graph], seconds: float) -> dict[str, dict[str, float]]:
    before, start_s = {mode: graph.cpu_s() for mode, graph in graphs.items()}, time.monotonic()
    while (left_s := start_s + seconds - time.monotonic()) > 0:
        for graph in graphs.values():
            graph.scrape()
        time.sleep(min(SCRAPE_S, left_s))
    wall_s = time.monotonic() - start_s
    return {mode: {name: (cpu_s - before[mode][name]) / wall_s for name, cpu_s in graph.cpu_s().items()} for mode, graph in graphs.items()}


def bench(say: Callable[[str], None], results: Path, seconds: float, rounds: int) -> bool:
    """The table; whether no node pays more than it may."""
    found = measure(seconds, rounds)
    say("\n| node at 30 Hz | % of a core with all | with none | heartbeats, metrics and logs |\n|---|---|---|---|")
    names = {"source": "publishes frames, numbers and logs", "sink": "takes them all"}
    for name, what in names.items():
        say(f"| {what} | " + " | ".join(_percent(found[key][name]) for key in ("all", "none", "told")) + " |")
    results.mkdir(exist_ok=True)
    (results / "overhead.json").write_text(json.dumps(found, indent=1))
    misses = [names[name] for name, shares in found["told"].items() if sorted(shares)[len(shares) // 2] > MOST_SHARE]
    lines = [f"- MISSED: the node that {miss}: more than {MOST_SHARE:.0%} of a core" for miss in misses]
    say("\n" + "\n".join(lines or [f"- reached: below {MOST_SHARE:.0%} of a core"]))
    return not misses


def _percent(shares: list[float]) -> str:
    ordered = [share * 100 for share in sorted(shares)]
    return f"{ordered[len(ordered) // 2]:.2f} ({ordered[0]:.2f} to {ordered[-1]:.2f})"
