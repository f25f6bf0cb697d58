"""`toddle sessions import decisions`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from toddle.sessions.common import complete_session, find, root_option
from toddle.sessions.exchange import import_name, run_import


@click.command()
@click.argument("session", metavar="SESSION", shell_complete=complete_session)
@click.argument("logs", metavar="[LOGS]", type=click.Path(path_type=Path), required=False)
@import_name
@click.option("--cameras", default="", metavar="A,B,...", help="Only these cameras, in this order [all].")
@click.option(
    "--stack", type=click.Choice(["vertical", "horizontal"]), default=None,
    help="Make one picture of the cameras, each 224 high and wide: two become 448x224, as the original system has them.",
)  # fmt: skip
@click.option("--skip-bad", is_flag=True, help="Leave out decisions whose frame is missing, and list them.")
@root_option
def decisions(
    session: str,
    logs: Path | None,
    name: str,
    cameras: str,
    stack: Literal["vertical", "horizontal"] | None,
    skip_bad: bool,
    root: str | None,
) -> None:
    """A session with a step for each decision, of SESSION, which has every video frame, and its discrete-action LOGS.

    LOGS is the folder of episode_000000.jsonl and so on, in a LeRobot recording `meta/discrete_action_logs`, or one file of
    several episodes. A session of `toddle record` tells of its decisions itself.
    After Ctrl-C the same command goes on where it was.
    """
    from storage.exchange.decisions import import_decisions

    chosen = [camera.strip() for camera in cameras.split(",") if camera.strip()]
    run_import(import_decisions, find(root, session), root, name, logs=logs, cameras=chosen, stack=stack or "", strict=not skip_bad)
