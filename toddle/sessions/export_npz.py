"""`toddle sessions export npz`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import name_argument, root_option
from toddle.sessions.exchange import run_export


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write them [NAME-npz].")
@click.option("--task", default="", metavar="TEXT", help="The language instruction [the task that the session says].")
@click.option("--skip-bad", is_flag=True, help="Leave out steps whose action is no number, and list them.")
@root_option
def npz(name: str, out: Path | None, task: str, skip_bad: bool, root: str | None) -> None:
    """episode_000000.npz and so on: observation/state, observation/image, observation/wrist_image, action, language_instruction."""
    from storage.exchange.npz_export import export_npz

    run_export(export_npz, root, name, out, "-npz", task=task, strict=not skip_bad)
