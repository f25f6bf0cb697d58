"""`toddle ask`: have a node of a running graph do something.

toddle ask robot pause
toddle ask robot step
toddle ask robot seek to=3/0 --run demo-again
"""

from __future__ import annotations

from typing import Any

import click

from toddle.attach import BadInput, attach

PATIENCE_S = 10.0


@click.command()
@click.argument("node")
@click.argument("command")
@click.argument("args", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--run", metavar="RUN", help="Name of the run; default: the one that runs.")
@click.option("--runs", type=click.Path(file_okay=False), help="Where runs live; default: $TODDLE_RUNS or runs.")
def ask(node: str, command: str, args: tuple[str, ...], run: str | None, runs: str | None) -> None:
    """Ask a NODE to do a COMMAND, such as pause, resume, step, seek, mark, halt or checkpoint.

    What it accepts goes on the record, with who asked. A command that it does not know is answered with those it does.
    """
    import zmq

    from launch.errors import nearest
    from protocol import control
    from protocol.errors import ControlError

    at = attach(run, runs)
    peers = {peer.name: peer for peer in [*at.table.nodes, at.table.launcher]}
    if node not in peers:
        raise BadInput(f"run '{at.table.run}' has no node '{node}'{nearest(node, list(peers))}")
    given = dict(named_value(one) for one in args)
    peer = peers[node]
    with zmq.Context() as context:
        try:
            said = control.ask(context, peer.endpoints.control, command, given, "toddle ask", PATIENCE_S, at.own, peer.key)
        except ControlError as error:
            raise BadInput(str(error)) from None
    click.echo(f"{node}: {command} {_words(said)}".rstrip())


def named_value(text: str) -> tuple[str, Any]:
    """Of NAME=VALUE, the value as YAML."""
    from launch.errors import LaunchError
    from launch.source import parse_value

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadInput(f"{text!r}: write NAME=VALUE")
    try:
        return name, parse_value(value) if value else ""
    except LaunchError:
        return name, value


def _words(said: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in said.items()) or "done"
