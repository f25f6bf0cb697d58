"""`toddle sessions import`: each format is a file `import_<format>.py`."""

import click

from toddle.lazy import Commands, LazyGroup

IMPORTS: Commands = {
    "lerobot": ("toddle.sessions.import_lerobot:lerobot", "A LeRobot dataset (v3.0), from a folder or the hub."),
    "donkeycar": ("toddle.sessions.import_donkeycar:donkeycar", "A Donkeycar tub (format v2)."),
    "original": ("toddle.sessions.import_original:original", "Session folders of the original system."),
    "decisions": ("toddle.sessions.import_decisions:decisions", "The decisions that discrete-action logs tell of a session."),
    "mcap": ("toddle.sessions.import_mcap:mcap", "An MCAP file: a session, or images of Foxglove and ROS 2."),
}


@click.group("import", cls=LazyGroup, commands_by_name=IMPORTS)
def import_group() -> None:
    """Make sessions of recordings of other systems."""
