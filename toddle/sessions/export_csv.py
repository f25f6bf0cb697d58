"""`toddle sessions export csv`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import name_argument, root_option
from toddle.sessions.exchange import run_export


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write them [NAME-csv].")
@root_option
def csv(name: str, out: Path | None, root: str | None) -> None:
    """Three tables: steps.csv (times, actions, states), metrics.csv and episodes.csv. Numbers are exact."""
    from storage.exchange.tables import export_csv

    run_export(export_csv, root, name, out, "-csv")
