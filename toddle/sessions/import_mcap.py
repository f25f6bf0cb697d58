"""`toddle sessions import mcap`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import root_option
from toddle.sessions.exchange import import_name, run_import


def _cameras(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Name to topic; a topic alone is named by its last word."""
    cameras: dict[str, str] = {}
    for value in values:
        name, _, topic = value.rpartition("=")
        name = name or topic.strip("/").rpartition("/")[2]
        if not topic or not name.replace("_", "").isalnum() or name in cameras:
            raise click.BadParameter(f"{value!r}: give NAME=TOPIC, each name once, such as front=/camera/front/image_raw")
        cameras[name] = topic
    return cameras


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@import_name
@click.option(
    "--camera",
    "cameras",
    multiple=True,
    callback=_cameras,
    metavar="NAME=TOPIC",
    help="Take this camera; the first makes the frames [all].",
)
@click.option("--action", metavar="TOPIC", help="Take the actions from this topic: all numbers of its messages.")
@click.option("--skip-bad", is_flag=True, help="Leave out what is damaged, and list it.")
@root_option
def mcap(file: Path, name: str, cameras: dict[str, str], action: str | None, skip_bad: bool, root: str | None) -> None:
    """An MCAP file: one that toddle wrote, to the bit; else images of Foxglove and ROS 2 with numbers as actions.

    After Ctrl-C the same command goes on where it was.
    """
    from storage.exchange.mcap.importing import import_mcap

    run_import(import_mcap, file, root, name, cameras=cameras, action=action, strict=not skip_bad)
