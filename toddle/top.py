"""`toddle top`: every node of a running graph, live.

toddle top                 a live table; q or Ctrl-C ends it
toddle top --once          one look
toddle top --once --json   ... for programs
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from toddle.attach import Attached, BadInput, attach, run_option, runs_option

if TYPE_CHECKING:
    from protocol.tap import Tap
    from toddle.overview import Overview

ONCE_S = 3.5
DRAW_EVERY_S = 0.5
WIDTH = 110


@click.command()
@run_option
@runs_option
@click.option("--once", is_flag=True, help="One table, and end; so it is where the output is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="One look, as JSON.")
def top(run: str | None, runs: str | None, once: bool, as_json: bool) -> None:
    """State, rate, load and losses of every node, and the rates of their topics."""
    at = attach(run, runs)
    from protocol.errors import ProtocolError
    from toddle.overview import Overview

    overview = Overview(at)
    try:
        with suppress(KeyboardInterrupt):
            if once or as_json or not sys.stdout.isatty():
                hear_once(at, overview, ONCE_S)
                _print(overview, as_json)
            else:
                _live(at, overview)
    except ProtocolError as error:
        raise BadInput(str(error)) from None


def hear_once(at: Attached, overview: Overview, seconds: float) -> None:
    """Until every node's rates are known, at most so long."""
    end_s = time.monotonic() + seconds
    with _tap(at) as tap:
        while time.monotonic() < end_s and not overview.complete():
            if (heard := tap.next(0.1)) is not None:
                overview.take(heard)


def _tap(at: Attached) -> Tap:
    from protocol.tap import Tap
    from toddle.overview import TAPPED

    topics = [name for name, (row, _) in at.topics.items() if row.kind in TAPPED]
    return Tap(at.table.nodes, topics, [name for name in topics if name.startswith("status/")], own=at.own)


def _print(overview: Overview, as_json: bool) -> None:
    import msgspec
    from rich.console import Console

    from toddle.overview import picture

    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(overview.look()), indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(picture(overview.look()))


def _live(at: Attached, overview: Overview) -> None:
    from rich.live import Live

    from launch.keys import Keys
    from toddle.overview import picture

    keys = Keys()
    due_s, alive = 0.0, True
    try:
        with _tap(at) as tap, Live(screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while alive and "q" not in keys.read().lower():
                if (heard := tap.next(0.1)) is not None:
                    overview.take(heard)
                if time.monotonic() >= due_s:
                    due_s = time.monotonic() + DRAW_EVERY_S
                    live.update(picture(overview.look()), refresh=True)
                    alive = at.alive()
    finally:
        keys.close()
    if not alive:
        click.echo(f"run {at.table.run} has ended", err=True)
