"""`toddle sessions export csv`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import find, name_argument, root_option
from toddle.sessions.exchange import export_lines, progress


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write them [NAME-csv].")
@root_option
def csv(name: str, out: Path | None, root: str | None) -> None:
    """Three tables: steps.csv (times, actions, states), metrics.csv and episodes.csv. Numbers are exact."""
    from storage.exchange.tables import export_csv

    path = find(root, name)
    out = out or Path(f"{path.name}-csv")
    with progress(path.name, f"stopped: nothing is left of {out}") as tell:
        report = export_csv(path, out, tell=tell)
    click.echo("\n".join(export_lines(report)))
