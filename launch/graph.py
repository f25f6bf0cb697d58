"""A checked launch file as a graph: who hears whom on which lane, and what each process is told."""

from pathlib import Path
from typing import Any

import msgspec

from launch.check import LAUNCHER, Kinds, check, start_order
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
    """Nodes in start order; `configs` are their validated params."""

    file: str
    nodes: dict[str, NodeSpec]
    configs: dict[str, msgspec.Struct | dict[str, Any]]
    args: dict[str, Any]
    off: list[str]
    seed: int
    time_limit_s: float
    description: str

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


def resolve(launch: Launch, kinds: Kinds) -> Graph:
    """The checked graph of a launch file."""
    configs = check(launch, kinds)
    spec = launch.spec
    return Graph(
        file=launch.file, nodes={name: _settled(spec.nodes[name], configs[name]) for name in start_order(launch)}, configs=configs,
        args=launch.args, off=launch.off, seed=spec.seed, time_limit_s=spec.time_limit_s,
        description=spec.description,
    )  # fmt: skip


def _settled(node: NodeSpec, config: object) -> NodeSpec:
    """The node with what suits its kind and config where the file says nothing."""
    on_full = node.on_full or getattr(config, "on_full", "block")
    hang_s = HANG_S.get(node.kind, OTHER_HANG_S) if node.hang_s is None else node.hang_s
    return msgspec.structs.replace(node, on_full=on_full, hang_s=hang_s)


def wirings(graph: Graph, ends: dict[str, Endpoints], run: str, run_dir: Path, key: KeyPair | None = None) -> dict[str, Wiring]:
    """What every node and the launcher itself are told; `key` guards their endpoints."""
    public, identity, keys_dir = (key.public, key.name, str(key.folder)) if key is not None else ("", "", "")
    peers = {name: Peer(name, node.kind, ends[name], public) for name, node in graph.nodes.items()}
    launcher = Peer(LAUNCHER, LAUNCHER, ends[LAUNCHER], public)
    result = {
        name: Wiring(
            run=run, run_dir=str(run_dir), name=name, kind=node.kind, endpoints=ends[name],
            inputs=[peers[source] for source in node.inputs],
            subscribers=[
                *(Subscriber(other, graph.nodes[other].kind) for other in graph.heard_by(name)),
                Subscriber(LAUNCHER, LAUNCHER),
            ],
            peers=[*(peer for other, peer in peers.items() if other != name), launcher],
            params=msgspec.to_builtins(graph.configs[name]), seed=graph.seed,
            ring_bytes=node.ring_mb << 20, on_full=node.on_full or "block", max_age_s=node.max_age_s, identity=identity, keys_dir=keys_dir,
        )
        for name, node in graph.nodes.items()
    }  # fmt: skip
    result[LAUNCHER] = Wiring(
        run=run, run_dir=str(run_dir), name=LAUNCHER, kind=LAUNCHER, endpoints=ends[LAUNCHER],
        inputs=list(peers.values()), peers=list(peers.values()), seed=graph.seed, ring_bytes=1 << 20, max_age_s=10.0,
        identity=identity, keys_dir=keys_dir,
    )  # fmt: skip
    return result


def table(graph: Graph, wiring: dict[str, Wiring], pid: int) -> Table:
    """The endpoints table of a run."""
    own = wiring[LAUNCHER]
    launcher = Peer(LAUNCHER, LAUNCHER, own.endpoints, own.inputs[0].key)
    inputs = {name: node.inputs for name, node in graph.nodes.items()}
    return Table(run=own.run, run_dir=own.run_dir, pid=pid, nodes=own.inputs, launcher=launcher, inputs=inputs)
