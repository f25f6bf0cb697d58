"""Graphs as text and as Mermaid."""

import re

import pytest

from toddle.drawing import WIDTH, Sketch, edges, escape, mermaid, terminal

LEARNING = Sketch(
    title="a graph",
    nodes={"robot": "robot", "arm-2": "robot", "trainer": "trainer", "predictor": "predictor", "viewer": "viewer", "recorder": "recorder"},
    inputs={
        "robot": ["predictor"], "trainer": ["robot"], "predictor": ["robot", "trainer"], "viewer": ["robot", "trainer", "nobody"],
        "recorder": ["robot", "arm-2", "trainer", "predictor", "viewer"], "gone": ["robot"],
    },
    rates={"frame/robot": 20.04, "weights/trainer": 0.2, "status/robot": 1.0},
    states={"robot": "running", "viewer": "paused"},
)  # fmt: skip

NODE = re.compile(r'^  ([a-z]+_\d+)\["([^"\[\]{}|<>]*(?:<br/>[^"\[\]{}|<>]*)*)"\]$')
EDGE = re.compile(r'^  ([a-z]+_\d+) (-->|-\.->)\|"([^"\[\]{}|<>]+)"\| ([a-z]+_\d+)$')


def test_mermaid_is_well_formed() -> None:
    head, *lines = mermaid(LEARNING).splitlines()
    assert head == "flowchart LR"
    nodes = {found[1]: found[2] for line in lines if (found := NODE.match(line))}
    arrows = [found.groups() for line in lines if (found := EDGE.match(line))]
    assert len(nodes) + len(arrows) == len(lines), "every line is a node or an edge"
    assert sorted(nodes.values()) == ["arm-2: robot", "predictor", "recorder", "robot<br/>running", "trainer", "viewer<br/>paused"]
    assert all(source in nodes and target in nodes for source, _, _, target in arrows)
    assert len(arrows) == len(edges(LEARNING))
    assert ("robot_0", "-->", "robot, episode, frame 20.0, action, probe, played, health", "recorder_5") in arrows
    assert ("trainer_2", "-.->", "weights 0.2, release", "predictor_3") in arrows


@pytest.mark.parametrize("text", ['a"b', "end", "x]--y", "<script>", "a|b", "#1", "{}", "a\nb", "ü"])
def test_names_cannot_break_out_of_a_label(text: str) -> None:
    escaped = escape(text)
    assert not set(escaped) & set('"[]{}|<>\n') and "#" not in re.sub(r"#\d+;", "", escaped)
    assert re.sub(r"#(\d+);", lambda found: chr(int(found[1])), escaped) == text


def test_the_terminal_shows_every_edge_within_its_width() -> None:
    many = {f"viewer-with-a-long-name-{index}": "viewer" for index in range(9)}
    sketch = Sketch(
        title="t " * 90,
        nodes={**LEARNING.nodes, **many},
        inputs={**LEARNING.inputs, **{name: ["robot"] for name in many}},
        rates=LEARNING.rates,
    )
    text = terminal(sketch)
    assert max(map(len, text.splitlines())) <= WIDTH and text.isascii()
    assert text.count("==>") + text.count("..>") == len(edges(sketch)) + 2, "and the legend"
    assert re.search(r"==> recorder +robot, episode, frame 20\.0, action, probe, played, health", text)
    assert re.search(r"\.\.> viewer-with-a-long-name-3 +robot, episode, frame 20\.0", text)
