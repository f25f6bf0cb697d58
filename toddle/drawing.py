"""A graph as plain text for a terminal, and as a Mermaid flowchart. Pure."""

import re
import textwrap
from collections.abc import Iterator, Mapping

import msgspec

from protocol.topics import LATEST, NODE_KINDS, RELIABLE, TOPICS, Lane, taken

WIDTH = 100
ARROWS = {RELIABLE: "==>", LATEST: "..>"}
LINKS = {RELIABLE: "-->", LATEST: "-.->"}
HEALTH = tuple(kind for kind, topic in TOPICS.items() if set(NODE_KINDS) <= set(topic.publishers))
"""What every node says; drawn as one word."""


class Sketch(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn: `nodes` maps names to kinds, `inputs` to the nodes they hear; `states` and `rates`
    (messages a second, by full topic name) are those of a graph that runs."""

    title: str
    nodes: dict[str, str]
    inputs: dict[str, list[str]]
    states: Mapping[str, str] = {}
    rates: Mapping[str, float | None] = {}


class Edge(msgspec.Struct, frozen=True):
    """What flows from one node to another on one lane."""

    source: str
    target: str
    lane: Lane
    kinds: list[str]


def edges(sketch: Sketch) -> list[Edge]:
    """In the order of the publishers, the reliable lane first."""
    found = []
    for source, kind in sketch.nodes.items():
        for lane in (RELIABLE, LATEST):
            for target in sketch.nodes:
                lanes = taken(kind, sketch.nodes[target]) if source in sketch.inputs.get(target, ()) else {}
                if kinds := [topic for topic, its in lanes.items() if its == lane]:
                    found.append(Edge(source, target, lane, kinds))
    return found


def terminal(sketch: Sketch) -> str:
    """Every node, and below it who hears what of it."""
    found = edges(sketch)
    lines = [*textwrap.wrap(sketch.title, WIDTH), ""]
    widest = max((len(edge.target) for edge in found), default=0)
    for name in sketch.nodes:
        lines.append("  ".join([f"[{_named(sketch, name)}]", *([sketch.states[name]] if name in sketch.states else [])]))
        for edge in (edge for edge in found if edge.source == name):
            head = f"  {ARROWS[edge.lane]} {edge.target:<{widest}}  "
            lines += textwrap.wrap(
                _said(sketch, edge), WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False
            )
        lines.append("")
    lines.append(f"{ARROWS[RELIABLE]} reliable   {ARROWS[LATEST]} latest   health: {', '.join(HEALTH)}")
    if sketch.rates:
        lines.append("numbers are messages a second, now")
    return "\n".join(lines)


def mermaid(sketch: Sketch) -> str:
    """A flowchart: solid arrows are reliable, dotted ones latest."""
    ids = {name: f"{re.sub('[^a-z]', '', kind)}_{index}" for index, (name, kind) in enumerate(sketch.nodes.items())}
    return "\n".join(["flowchart LR", *_mermaid(sketch, ids)])


def _mermaid(sketch: Sketch, ids: Mapping[str, str]) -> Iterator[str]:
    for name in sketch.nodes:
        words = [_named(sketch, name), *([sketch.states[name]] if name in sketch.states else [])]
        yield f'  {ids[name]}["{"<br/>".join(map(escape, words))}"]'
    for edge in edges(sketch):
        yield f'  {ids[edge.source]} {LINKS[edge.lane]}|"{escape(_said(sketch, edge))}"| {ids[edge.target]}'


def escape(text: str) -> str:
    """Safe between the quotes of a Mermaid label: all but plain characters as their entity codes."""
    return "".join(char if char.isalnum() or char in " .,:/_+-()" else f"#{ord(char)};" for char in text)


def _named(sketch: Sketch, name: str) -> str:
    kind = sketch.nodes[name]
    return name if name == kind else f"{name}: {kind}"


def _said(sketch: Sketch, edge: Edge) -> str:
    """The topics of an edge, with their rates where they are known; what every node says as one word."""
    words = []
    for kind in edge.kinds:
        rate = sketch.rates.get(f"{kind}/{edge.source}")
        if kind not in HEALTH:
            words.append(kind if rate is None else f"{kind} {rate:.1f}")
    return ", ".join([*words, *(["health"] if any(kind in HEALTH for kind in edge.kinds) else [])])
