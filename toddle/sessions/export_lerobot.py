"""`toddle sessions export lerobot`."""

from __future__ import annotations

from pathlib import Path

import click

from toddle.sessions.common import name_argument, root_option
from toddle.sessions.exchange import run_export


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write it [NAME-lerobot].")
@click.option(
    "--codec", type=click.Choice(["av1", "h264"]), default="av1", show_default=True, help="Of the videos; av1 is lerobot's own choice."
)
@click.option("--pictures", is_flag=True, help="Keep frames bit for bit, as PNG in the data files, instead of as video.")
@click.option("--task", default="", help="What to do, in words, where the session does not say it [the robot's driver].")
@click.option("--repo-id", default="", metavar="USER/NAME", help="What the dataset is called on the hub [local/FOLDER].")
@click.option("--push", is_flag=True, help="Upload it to the Hugging Face hub, as --repo-id.")
@click.option("--private", is_flag=True, help="With --push: only you see it there.")
@click.option("--skip-bad", is_flag=True, help="Leave out steps that cannot be exported, and list them.")
@root_option
def lerobot(  # noqa: PLR0913 - the options, each by name
    name: str, out: Path | None, codec: str, pictures: bool, task: str, repo_id: str, push: bool, private: bool, skip_bad: bool,
    root: str | None,
) -> None:  # fmt: skip
    """Session NAME as a LeRobot v3.0 dataset, which lerobot trains on."""
    from storage.exchange.lerobot.exporting import export_lerobot
    from storage.exchange.lerobot.hub import upload

    if push and not repo_id:
        raise click.UsageError("--push needs --repo-id USER/NAME: where to upload it")
    out = run_export(
        export_lerobot, root, name, out, "-lerobot", repo_id=repo_id, codec=codec, pictures=pictures, task=task, strict=not skip_bad
    )
    if push:
        click.echo(f"uploaded: {upload(out, repo_id, private=private)}")
