"""`toddle sessions import lerobot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toddle.sessions.common import root_option
from toddle.sessions.exchange import import_name, run_import


@click.command()
@click.argument("folder", metavar="[FOLDER]", required=False, type=click.Path(path_type=Path))
@click.option("--repo-id", metavar="USER/NAME", help="Instead of FOLDER: take it from the Hugging Face hub.")
@import_name
@click.option("--stack", type=click.Choice(["vertical", "horizontal"]), help="One picture of all cameras [kept apart].")
@click.option("--action", metavar="KEY", help="Which column is the action [action].")
@click.option("--state", metavar="KEY", help="Which column is the state [observation.state].")
@click.option("--skip-bad", is_flag=True, help="Leave out what cannot be imported, and list it.")
@root_option
def lerobot(folder: Path | None, repo_id: str | None, name: str, root: str | None, skip_bad: bool, **how: Any) -> None:
    """A LeRobot dataset, v3.0: the FOLDER that holds meta, data and videos.

    After Ctrl-C the same command goes on where it was.
    """
    from storage.exchange.lerobot.hub import download
    from storage.exchange.lerobot.importing import import_lerobot

    if (folder is None) == (repo_id is None):
        raise click.UsageError("give either the FOLDER of a dataset, or --repo-id")
    run_import(import_lerobot, folder or download(repo_id or ""), root, name, strict=not skip_bad, hub=repo_id or "", **how)
