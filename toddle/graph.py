"""`toddle graph`: who hears whom.

toddle graph                       the running graph, with its rates
toddle graph launch/online.yaml    what a launch file would start
toddle graph demo --mermaid        a run, for a page that draws Mermaid
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from toddle.attach import Attached, BadInput, attach, complete_run, named, runs_option

if TYPE_CHECKING:
    from toddle.drawing import Sketch

LISTEN_S = 3.5


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs, and what else begins like it as a file."""
    runs = [CompletionItem(name) for name in complete_run(ctx, param, incomplete)]
    return runs or [CompletionItem(incomplete, type="file")]


@click.command()
@click.argument("what", metavar="[FILE|RUN]", required=False, shell_complete=_complete)
@click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="Change an arg of the launch file.")
@runs_option
@click.option("--mermaid", "as_mermaid", is_flag=True, help="As a Mermaid flowchart.")
def graph(what: str | None, sets: tuple[str, ...], runs: str | None, as_mermaid: bool) -> None:
    """Draw a launch FILE, or a RUN by its name or graph.json; default: the graph that runs."""
    from toddle.launch import check_launch

    check_launch()
    from toddle import drawing

    if what and what.endswith((".yaml", ".yml")):
        sketch = _of_file(Path(what), sets, runs)
    elif sets:
        raise BadInput("--set changes an arg of a launch file: name one, such as launch/run.yaml")
    else:
        sketch = _of_run(named(what, runs) if what else attach(None, runs))
    click.echo(drawing.mermaid(sketch) if as_mermaid else drawing.terminal(sketch))


def _of_file(file: Path, sets: tuple[str, ...], runs: str | None) -> Sketch:
    from launch.errors import LaunchError
    from launch.run import Options, plan
    from toddle.drawing import Sketch
    from toddle.launch import hooks

    try:
        made = plan(Options(file=file, sets=sets, runs=runs), hooks()).graph
    except LaunchError as error:
        raise BadInput(str(error)) from None
    title = f"{file}: {made.description.strip()}".rstrip(": ")
    nodes = _sources_first({name: node.kind for name, node in made.nodes.items()})
    return Sketch(title=title, nodes=nodes, inputs={name: node.inputs for name, node in made.nodes.items()})


def _of_run(at: Attached) -> Sketch:
    from toddle.drawing import Sketch

    nodes = _sources_first({node.name: node.kind for node in at.table.nodes})
    if not at.alive():
        return Sketch(title=f"run {at.table.run}, which has ended", nodes=nodes, inputs=at.table.inputs)
    from protocol.errors import ProtocolError
    from toddle.overview import Overview
    from toddle.top import hear_once

    overview = Overview(at)
    try:
        hear_once(at, overview, LISTEN_S)
    except ProtocolError as error:
        raise BadInput(str(error)) from None
    look = overview.look()
    states = {node.node: node.state for node in look.nodes}
    return Sketch(title=f"run {at.table.run}", nodes=nodes, inputs=at.table.inputs, states=states, rates=look.topics)


def _sources_first(nodes: dict[str, str]) -> dict[str, str]:
    from launch.graph import GO_ORDER

    return dict(sorted(nodes.items(), key=lambda item: -GO_ORDER.index(item[1])))
