"""`toddle sessions import donkeycar`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import root_option
from toddle.sessions.exchange import import_name, numbers, run_import


@click.command()
@click.argument("tub", metavar="PATH", type=click.Path(path_type=Path))
@import_name
@click.option("--fps", type=float, help="Frames per second; needed where the tub's times are not those of the camera.")
@click.option("--episodes-at", callback=numbers, metavar="N,N,...", help="Indexes at which a new episode begins.")
@click.option("--skip-bad", is_flag=True, help="Leave out records that cannot be imported, and list them.")
@root_option
def donkeycar(tub: Path, name: str, fps: float | None, episodes_at: list[int], skip_bad: bool, root: str | None) -> None:
    """A Donkeycar tub (format v2): the folder that holds manifest.json.

    After Ctrl-C the same command goes on where it was.
    """
    from storage.exchange.tub_import import import_tub

    run_import(import_tub, tub, root, name, fps=fps, episodes_at=episodes_at, strict=not skip_bad)
