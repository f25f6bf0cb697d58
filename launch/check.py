"""Is the graph right? Kinds, inputs, what flows between them, start order, the params of each node."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from launch.errors import nearest
from launch.loader import Launch
from launch.typed import convert
from protocol.topics import NODE_KINDS, taken

Kinds = Mapping[str, type[msgspec.Struct]]
LAUNCHER = "launcher"
NAME = re.compile(r"^[a-z][a-z0-9_-]{0,31}$")


def launcher_of(host: str) -> str:
    """The name of a host's launcher on the bus; of the only one where a file names no hosts."""
    return f"{LAUNCHER}-{host}" if host else LAUNCHER


def check(launch: Launch, kinds: Kinds) -> dict[str, msgspec.Struct | dict[str, Any]]:
    """Each node's validated config (plain params where the kind has no config struct)."""
    nodes = launch.spec.nodes
    for name, node in nodes.items():
        key = ("nodes", name)
        if not NAME.match(name) or name == LAUNCHER or name in map(launcher_of, launch.spec.hosts):
            raise launch.error(key, f"'{name}' cannot name a node: lower case letters, digits, - and _")
        if node.kind not in NODE_KINDS:
            text = f"unknown kind '{node.kind}' of node {name}{nearest(node.kind, NODE_KINDS)}"
            raise launch.error((*key, "kind"), text)
    for name, node in nodes.items():
        _known(launch, name, "inputs", node.inputs)
        _known(launch, name, "after", node.after)
        for index, other in enumerate(node.inputs):
            _flows(launch, name, other, index)
    start_order(launch)
    _hosts(launch)
    return {name: _config(launch, name, kinds.get(node.kind)) for name, node in nodes.items()}


def _hosts(launch: Launch) -> None:
    """Every node has a host, every host a node."""
    nodes, hosts = launch.spec.nodes, launch.spec.hosts
    for name, node in nodes.items():
        if node.host and not hosts:
            raise launch.error(("nodes", name, "host"), f"node {name} names a host, and the file has no `hosts: {{{node.host}: ADDRESS}}`")
        if node.host not in hosts and hosts:
            key = ("nodes", name, "host") if node.host else ("nodes", name)
            raise launch.error(key, f"node {name} must name its host: {' or '.join(hosts)}{nearest(node.host, hosts) if node.host else ''}")
    for name in hosts:
        if not NAME.match(name):
            raise launch.error(("hosts", name), f"'{name}' cannot name a host: lower case letters, digits, - and _")
        if all(node.host != name for node in nodes.values()):
            raise launch.error(("hosts", name), f"host '{name}' has no node; give one `host: {name}`")


def _known(launch: Launch, name: str, field: str, others: Iterable[str]) -> None:
    rest = [other for other in launch.spec.nodes if other != name]
    seen: set[str] = set()
    for index, other in enumerate(others):
        if other not in rest:
            why = "names itself" if other == name else f"names unknown node '{other}'{nearest(other, rest)}"
            raise launch.error(("nodes", name, field, index), f"'{field}' of {name} {why}")
        if other in seen:
            raise launch.error(("nodes", name, field, index), f"'{field}' of {name} names '{other}' twice")
        seen.add(other)


def _flows(launch: Launch, name: str, other: str, index: int) -> None:
    nodes = launch.spec.nodes
    kind, source = nodes[name].kind, nodes[other].kind
    if taken(source, kind):
        return
    heard = [publisher for publisher in NODE_KINDS if taken(publisher, kind)]
    text = f"{name} would hear nothing from {other}: a {kind} takes no topic of a {source}, only of {' and '.join(heard)}"
    raise launch.error(("nodes", name, "inputs", index), text)


def start_order(launch: Launch) -> list[str]:
    """Nodes in the order in which they start; `after` in a circle is refused."""
    nodes = launch.spec.nodes
    order: list[str] = []

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise launch.error(("nodes", name, "after"), f"'after' runs in a circle: {circle}")
        if name not in order:
            for other in nodes[name].after:
                visit(other, [*path, name])
            order.append(name)

    for name in nodes:
        visit(name, [])
    return order


def _config(launch: Launch, name: str, kind: type[msgspec.Struct] | None) -> msgspec.Struct | dict[str, Any]:
    params = launch.spec.nodes[name].params
    if kind is None:
        return params
    config = convert(kind, launch.source, ("nodes", name, "params"), f"{name} params", params)
    problem = getattr(config, "problem", None)  # what a kind can tell before it is started
    if problem is not None and (text := problem()):
        raise launch.error(("nodes", name, "params"), f"{name}: {text}")
    return config
