"""`toddle launch FILE --dry-run`: the resolved graph in words, without starting anything."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from launch.graph import Graph
from launch.schema import Restart
from protocol.disk import MB, DiskUse, tell_bytes
from protocol.wiring import Endpoints

Estimate = Callable[[dict[str, Any]], int | None]
"""From a node's params to the bytes it publishes per step, where that is known."""
Room = Callable[[dict[str, Any]], int | None]
"""From a recorder's params to the bytes that it may still write where its sessions are, where that is known."""


def describe(graph: Graph, ends: Mapping[str, Endpoints], run_dir: str, estimates: Mapping[str, Estimate], room: Room | None) -> str:
    """The plan of a run as plain text."""
    lines = [f"{graph.file}: {graph.description.strip()}".rstrip(": "), f"run folder {run_dir}"]
    if graph.args:
        lines.append("args " + ", ".join(f"{name}={value}" for name, value in graph.args.items()))
    limit = f"{graph.time_limit_s:g} s" if graph.time_limit_s else "none"
    lines.append(f"seed {graph.seed}, time limit {limit}")
    lines += ["", "start order " + " -> ".join(graph.nodes)]
    lines.append("stop order  " + " -> ".join(" + ".join(tier) for tier in graph.stop_tiers))
    if graph.off:
        lines.append("switched off by 'if': " + ", ".join(graph.off))
    if graph.hosts:
        lines.append("hosts " + ", ".join(f"{name} {address}" for name, address in graph.hosts.items()) + f"; this is {graph.host}")
    for name in graph.nodes:
        lines += ["", *_node(graph, name, ends[name], estimates)]
    lines += ["", *_disk(graph, estimates, room)]
    return "\n".join(lines)


def _node(graph: Graph, name: str, ends: Endpoints, estimates: Mapping[str, Estimate]) -> Iterator[str]:
    node = graph.nodes[name]
    need = "required" if node.required else "optional"
    after = f", after {', '.join(node.after)}" if node.after else ""
    where = f", on {node.host}" if node.host else ""
    yield f"{name} ({node.kind}{where}, {need}{after}, restart {_restart(node.restarts)})"
    for edge in graph.hears(name):
        lanes: dict[str, list[str]] = {}
        for topic, lane in edge.lanes.items():
            lanes.setdefault(lane, []).append(topic)
        said = "; ".join(f"{lane}: {', '.join(topics)}" for lane, topics in lanes.items())
        yield f"  hears {edge.source}  {said}"
    if not node.inputs:
        yield "  hears nobody"
    yield f"  binds {ends.latest}  {ends.reliable}  {ends.control}"
    params = msgspec.to_builtins(graph.configs[name])
    if params:
        yield "  params " + ", ".join(f"{key}={value}" for key, value in params.items())
    yield f"  ring {node.ring_mb} MB, when full: {node.on_full}{_covers(graph, name, estimates)}"


def _restart(restart: Restart) -> str:
    if restart.policy == "never":
        return "never"
    return f"{restart.policy}, at most {restart.max} in {restart.window_s:g} s"


def _covers(graph: Graph, name: str, estimates: Mapping[str, Estimate]) -> str:
    speed = _bytes_per_s(graph, name, estimates)
    return (
        f", holds {(graph.nodes[name].ring_mb * MB) / speed:.0f} s at this run's rate"
        if speed
        else ", holds as long as its first messages will tell"
    )


def _bytes_per_s(graph: Graph, name: str, estimates: Mapping[str, Estimate]) -> float | None:
    estimate = estimates.get(graph.nodes[name].kind)
    params = msgspec.to_builtins(graph.configs[name])
    size = estimate(params) if estimate else None
    rate = params.get("rate_hz")
    return size * float(rate) if size and rate else None


def _disk(graph: Graph, estimates: Mapping[str, Estimate], room_of: Room | None) -> Iterator[str]:
    for recorder in graph.of_kind("recorder"):
        speeds = {name: _bytes_per_s(graph, name, estimates) for name in graph.nodes[recorder].inputs}
        known = [speed for speed in speeds.values() if speed]
        room = room_of(msgspec.to_builtins(graph.configs[recorder])) if room_of else None
        if known:
            use = DiskUse(bytes_per_minute=sum(known) * 60, room_bytes=room or 0)
            told = f"; {use.tell_room()} at least" if room is not None else ""
            yield f"{recorder} writes at most {use.bytes_per_minute / MB:.0f} MB a minute, before compression{told}"
            if room is not None and (trouble := use.too_little_for(graph.time_limit_s)):
                yield f"{recorder} WARNING, if nothing can be compressed {trouble}"
        else:
            told = f"; {tell_bytes(room)} free above the floor" if room is not None else ""
            yield f"{recorder} writes an amount that is not known before its first frames, which tell it{told}"
