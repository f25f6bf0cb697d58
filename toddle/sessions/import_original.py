"""`toddle sessions import original`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import root_option
from toddle.sessions.exchange import import_name, numbers, run_import


@click.command()
@click.argument("folder", metavar="PATH", type=click.Path(path_type=Path))
@import_name
@click.option(
    "--action-logs", metavar="FOLDER", type=click.Path(path_type=Path),
    help="The discrete-action logs of the recording: they tell joined episodes apart, and where the second joint stood.",
)  # fmt: skip
@click.option("--episodes-at", callback=numbers, metavar="N,N,...", help="Observations of a joined folder at which a new episode begins.")
@click.option("--fps", type=float, help="Observations per second, in place of the recorded times.")
@click.option("--skip-bad", is_flag=True, help="Leave out what cannot be imported, and list it.")
@root_option
def original(
    folder: Path, name: str, action_logs: Path | None, episodes_at: list[int], fps: float | None, skip_bad: bool, root: str | None
) -> None:
    """A session folder of the original system (it holds session_meta.json), or a folder of such folders: an episode each.

    After Ctrl-C the same command goes on where it was.
    """
    from storage.exchange.original_import import import_original

    run_import(import_original, folder, root, name, action_logs=action_logs, episodes_at=episodes_at, fps=fps, strict=not skip_bad)
