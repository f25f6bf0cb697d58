"""`toddle sessions trim`, `drop`, `merge` and `mark`: new sessions made of others, which stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toddle.sessions.common import (
    as_option,
    complete_session,
    dry_option,
    echo_made,
    find,
    json_option,
    name_argument,
    new_path,
    root_option,
)

if TYPE_CHECKING:
    from storage.editing.edit import Edit

JUDGEMENTS = ("success", "failure", "discard")


@click.command()
@name_argument
@as_option
@click.option("--from", "start", metavar="PLACE", help="Seconds from the first frame, or EPISODE:STEP; default: the start.")
@click.option("--until", metavar="PLACE", help="Up to before this place; default: the end.")
@root_option
@dry_option
@json_option
def trim(name: str, target: str, start: str | None, until: str | None, root: str | None, dry_run: bool, as_json: bool) -> None:
    """Make session NEW of the part of NAME from one PLACE to before another.

    A PLACE is a number of seconds from the first frame (12.5), a step of an episode (3:40) or its start (3:).
    """
    from storage.editing import edit
    from storage.editing.source import Source

    with Source(find(root, name)) as source:
        _make(edit.trim(source, start, until), root, target, dry_run, as_json)


@click.command()
@name_argument
@as_option
@click.option("--episodes", metavar="N,N-N,...", help="The episodes that are left out, such as 3,5-7.")
@click.option("--marked", type=click.Choice(JUDGEMENTS), help="Leave out the episodes that are marked so.")
@root_option
@dry_option
@json_option
def drop(name: str, target: str, episodes: str | None, marked: str | None, root: str | None, dry_run: bool, as_json: bool) -> None:
    """Make session NEW of NAME without some episodes."""
    from storage.editing import edit
    from storage.editing.source import Source

    if episodes is None and marked is None:
        raise click.UsageError("which episodes? give --episodes or --marked")
    with Source(find(root, name)) as source:
        _make(edit.drop(source, episodes, marked), root, target, dry_run, as_json)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME NAME...", shell_complete=complete_session)
@as_option
@root_option
@dry_option
@json_option
def merge(names: tuple[str, ...], target: str, root: str | None, dry_run: bool, as_json: bool) -> None:
    """Make session NEW of several, one after the other; where two use the same episode numbers, the later ones count on."""
    from contextlib import ExitStack

    from storage.editing import edit
    from storage.editing.source import Source

    if len(names) < 2:
        raise click.UsageError("merge what? give at least two sessions")
    with ExitStack() as stack:
        sources = [stack.enter_context(Source(find(root, name))) for name in names]
        _make(edit.merge(sources), root, target, dry_run, as_json)


@click.command()
@name_argument
@click.argument("judgement", metavar="|".join(JUDGEMENTS), type=click.Choice(JUDGEMENTS))
@click.option("--episodes", metavar="N,N-N,...", required=True, help="The episodes that are marked, such as 3,5-7.")
@click.option("--relabel", is_flag=True, help="In place of what they were judged before.")
@click.option("--reason", default="", help="Why; it is kept with the mark.")
@as_option
@root_option
@dry_option
@json_option
def mark(
    name: str, judgement: str, episodes: str, relabel: bool, reason: str, target: str, root: str | None, dry_run: bool, as_json: bool
) -> None:  # fmt: skip
    """Make session NEW of NAME with some episodes marked as a success, a failure, or to be discarded."""
    from storage.editing import edit
    from storage.editing.source import Source

    with Source(find(root, name)) as source:
        _make(edit.mark(source, judgement, episodes, relabel=relabel, reason=reason), root, target, dry_run, as_json)


def _make(edit: Edit, root: str | None, name: str, dry_run: bool, as_json: bool) -> None:
    from storage.editing.making import check_free

    target = new_path(root, name)
    check_free(target)
    echo_made([edit.preview(name) if dry_run else edit.write(target)], dry_run, as_json)
