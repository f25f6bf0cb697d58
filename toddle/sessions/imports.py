"""`toddle sessions import`: each format is a file `import_<format>.py`."""

import click

from toddle.lazy import Commands, LazyGroup

IMPORTS: Commands = {
    "donkeycar": ("toddle.sessions.import_donkeycar:donkeycar", "A Donkeycar tub (format v2)."),
    "mcap": ("toddle.sessions.import_mcap:mcap", "An MCAP file: a session, or images of Foxglove and ROS 2."),
}


@click.group("import", cls=LazyGroup, commands_by_name=IMPORTS)
def import_group() -> None:
    """Make sessions of recordings of other systems."""
