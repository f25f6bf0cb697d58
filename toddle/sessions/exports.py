"""`toddle sessions export`: each format is a file `export_<format>.py`."""

import click

from toddle.lazy import Commands, LazyGroup

EXPORTS: Commands = {
    "lerobot": ("toddle.sessions.export_lerobot:lerobot", "A LeRobot v3.0 dataset, to train with lerobot."),
    "donkeycar": ("toddle.sessions.export_donkeycar:donkeycar", "A Donkeycar tub (format v2)."),
    "original": ("toddle.sessions.export_original:original", "Session folders of the original system, one an episode."),
    "mp4": ("toddle.sessions.export_mp4:mp4", "A video with episode, step, time and action in the picture."),
    "csv": ("toddle.sessions.export_csv:csv", "The numbers of each step, metric and episode, as CSV."),
    "npz": ("toddle.sessions.export_npz:npz", "A file an episode, with the keys of openpi's converter."),
    "mcap": ("toddle.sessions.export_mcap:mcap", "An MCAP file for Foxglove, which comes back to the bit."),
}


@click.group("export", cls=LazyGroup, commands_by_name=EXPORTS)
def export_group() -> None:
    """Write sessions in the formats of other systems."""
