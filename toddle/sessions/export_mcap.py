"""`toddle sessions export mcap`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import name_argument, root_option
from toddle.sessions.exchange import run_export


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.mcap", help="Where to write it [NAME.mcap].")
@click.option(
    "--images", type=click.Choice(["raw", "png", "jpeg"]), default="raw", show_default=True, help="raw and png lose nothing, jpeg is small."
)
@root_option
def mcap(name: str, out: Path | None, images: str, root: str | None) -> None:
    """An MCAP file for Foxglove with everything that session NAME holds; `import mcap` makes the same session of it."""
    from storage.exchange.mcap.exporting import export_mcap

    run_export(export_mcap, root, name, out, ".mcap", images=images)
