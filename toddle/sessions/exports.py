"""`toddle sessions export`: each format is a file `export_<format>.py`."""

import click

from toddle.lazy import Commands, LazyGroup

EXPORTS: Commands = {
    "mcap": ("toddle.sessions.export_mcap:mcap", "An MCAP file for Foxglove, which comes back to the bit."),
}


@click.group("export", cls=LazyGroup, commands_by_name=EXPORTS)
def export_group() -> None:
    """Write sessions in the formats of other systems."""
