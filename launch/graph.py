"""A checked launch file as a graph: who hears whom on which lane, and what each process is told."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from launch.check import LAUNCHER, Kinds, check, launcher_of, start_order
from launch.loader import Launch
from launch.schema import HANG_S, OTHER_HANG_S, NodeSpec
from protocol.keys import KeyPair
from protocol.topics import Lane, taken
from protocol.wiring import Endpoints, Peer, Subscriber, Wiring

STOP_TIERS: tuple[tuple[str, ...], ...] = (("robot",), ("trainer", "predictor", "viewer"), ("recorder",))
"""Kinds in the order in which they stop: sources first, the recorder last."""

GO_ORDER: tuple[str, ...] = ("recorder", "viewer", "trainer", "predictor", "robot")
"""Kinds in the order in which they are told to go: consumers first, sources last."""


class Edge(msgspec.Struct, frozen=True):
    """What one node hears from another: topic kind to lane."""

    source: str
    lanes: dict[str, Lane]


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Nodes in start order; `configs` are their validated params. `host` is which of `hosts` (name to address) this is."""

    file: str
    nodes: dict[str, NodeSpec]
    configs: dict[str, msgspec.Struct | dict[str, Any]]
    args: dict[str, Any]
    off: list[str]
    seed: int
    time_limit_s: float
    description: str
    hosts: dict[str, str] = {}
    base_port: int = 0
    host: str = ""

    @property
    def here(self) -> list[str]:
        """The nodes that this host starts: all of them, where there is one host."""
        return [name for name, node in self.nodes.items() if node.host == self.host]

    @property
    def launcher(self) -> str:
        return launcher_of(self.host)

    @property
    def other_hosts(self) -> list[str]:
        return [name for name in self.hosts if name != self.host]

    def digest(self) -> str:
        """The same on two hosts whose parts fit together."""
        nodes = {name: [node.kind, node.host, *node.inputs] for name, node in self.nodes.items()}
        return hashlib.sha256(msgspec.json.encode([self.hosts, self.base_port, nodes])).hexdigest()

    def hears(self, name: str) -> list[Edge]:
        kind = self.nodes[name].kind
        return [Edge(source, taken(self.nodes[source].kind, kind)) for source in self.nodes[name].inputs]

    def heard_by(self, name: str) -> list[str]:
        """Nodes that take at least one topic of this one."""
        return [other for other, node in self.nodes.items() if name in node.inputs]

    def of_kind(self, kind: str) -> list[str]:
        return [name for name, node in self.nodes.items() if node.kind == kind]

    @property
    def stop_tiers(self) -> list[list[str]]:
        tiers = [[name for kind in kinds for name in self.of_kind(kind)] for kinds in STOP_TIERS]
        return [tier for tier in tiers if tier]

    @property
    def go_order(self) -> list[str]:
        return [name for kind in GO_ORDER for name in self.of_kind(kind)]


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """`graph.json` in a run folder: who is where and hears whom, for those who join a running graph."""

    run: str
    run_dir: str
    pid: int
    nodes: list[Peer]
    launcher: Peer
    inputs: dict[str, list[str]] = {}


def resolve(launch: Launch, kinds: Kinds, host: str = "") -> Graph:
    """The checked graph of a launch file, as `host` sees it where it names several."""
    configs = check(launch, kinds)
    spec = launch.spec
    return Graph(
        file=launch.file, nodes={name: _settled(spec.nodes[name], configs[name]) for name in start_order(launch)}, configs=configs,
        args=launch.args, off=launch.off, seed=spec.seed, time_limit_s=spec.time_limit_s,
        description=spec.description, hosts=spec.hosts, base_port=spec.base_port, host=host,
    )  # fmt: skip


def _settled(node: NodeSpec, config: object) -> NodeSpec:
    """The node with what suits its kind and config where the file says nothing."""
    on_full = node.on_full or getattr(config, "on_full", "block")
    hang_s = HANG_S.get(node.kind, OTHER_HANG_S) if node.hang_s is None else node.hang_s
    return msgspec.structs.replace(node, on_full=on_full, hang_s=hang_s)


def wirings(
    graph: Graph, ends: dict[str, Endpoints], run: str, run_dir: Path, key: KeyPair | None = None, keys: Mapping[str, str] | None = None
) -> dict[str, Wiring]:
    """What the nodes of this host and its launcher are told; `key` guards their endpoints, `keys` are those of all hosts, by name."""
    public, identity, keys_dir = (key.public, key.name, str(key.folder)) if key is not None else ("", "", "")
    public_of = {graph.host: public, **(keys or {})}
    peers = {name: Peer(name, node.kind, ends[name], public_of.get(node.host, "")) for name, node in graph.nodes.items()}
    launcher = Peer(LAUNCHER, LAUNCHER, ends[graph.launcher], public)
    others = [Peer(launcher_of(one), LAUNCHER, ends[launcher_of(one)], public_of.get(one, "")) for one in graph.other_hosts]
    result = {
        name: Wiring(
            run=run, run_dir=str(run_dir), name=name, kind=node.kind, endpoints=ends[name],
            inputs=[peers[source] for source in node.inputs],
            subscribers=[
                *(Subscriber(other, graph.nodes[other].kind) for other in graph.heard_by(name)),
                *(Subscriber(launcher_of(one), LAUNCHER) for one in graph.hosts or [""]),
            ],
            peers=[*(peer for other, peer in peers.items() if other != name), launcher],
            params=msgspec.to_builtins(graph.configs[name]), seed=graph.seed,
            ring_bytes=node.ring_mb << 20, on_full=node.on_full or "block", max_age_s=node.max_age_s, identity=identity, keys_dir=keys_dir,
        )
        for name, node in graph.nodes.items() if name in graph.here
    }  # fmt: skip
    result[LAUNCHER] = Wiring(
        run=run, run_dir=str(run_dir), name=graph.launcher, kind=LAUNCHER, endpoints=ends[graph.launcher],
        inputs=[*peers.values(), *others], peers=[*peers.values(), *others], seed=graph.seed, ring_bytes=1 << 20, max_age_s=10.0,
        identity=identity, keys_dir=keys_dir,
    )  # fmt: skip
    return result


def table(graph: Graph, wiring: dict[str, Wiring], pid: int) -> Table:
    """The endpoints table of a run."""
    own = wiring[LAUNCHER]
    nodes = [peer for peer in own.inputs if peer.kind != LAUNCHER]
    public = next((peer.key for peer in nodes if peer.name in graph.here), "")
    launcher = Peer(LAUNCHER, LAUNCHER, own.endpoints, public)
    inputs = {name: node.inputs for name, node in graph.nodes.items()}
    return Table(run=own.run, run_dir=own.run_dir, pid=pid, nodes=nodes, launcher=launcher, inputs=inputs)
