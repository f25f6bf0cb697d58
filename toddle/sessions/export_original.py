"""`toddle sessions export original`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import name_argument, root_option
from toddle.sessions.exchange import run_export


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write them [NAME-original].")
@click.option("--skip-bad", is_flag=True, help="Leave out actions that are no numbers, and list them.")
@root_option
def original(name: str, out: Path | None, skip_bad: bool, root: str | None) -> None:
    """Session folders of the original system, one an episode; several cameras are stacked, two are 448x224."""
    from storage.exchange.original_export import export_original

    run_export(export_original, root, name, out, "-original", strict=not skip_bad)
