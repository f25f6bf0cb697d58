"""`toddle sessions export mcap`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import find, name_argument, root_option
from toddle.sessions.exchange import export_lines, progress


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

    path = find(root, name)
    out = out or Path(f"{path.name}.mcap")
    with progress(path.name, f"stopped: nothing is left of {out}") as tell:
        report = export_mcap(path, out, images=images, tell=tell)
    click.echo("\n".join(export_lines(report)))
