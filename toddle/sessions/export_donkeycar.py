"""`toddle sessions export donkeycar`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import name_argument, root_option
from toddle.sessions.exchange import run_export


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write it [NAME-tub].")
@click.option("--camera", default="", help="Which camera, of several.")
@click.option("--skip-bad", is_flag=True, help="Leave out steps whose action is no number, and list them.")
@root_option
def donkeycar(name: str, out: Path | None, camera: str, skip_bad: bool, root: str | None) -> None:
    """A Donkeycar tub (format v2) of a session whose actions are angle and throttle."""
    from storage.exchange.tub_export import export_tub

    run_export(export_tub, root, name, out, "-tub", camera=camera, strict=not skip_bad)
