"""`toddle sessions pin`, `unpin` and `delete`: what stays, and what goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from toddle.sessions.common import dry_option, find, name_argument, root_option, size

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@name_argument
@root_option
@dry_option
@click.option("--yes", is_flag=True, help="Really delete it; there is no way back.")
def delete(name: str, root: str | None, dry_run: bool, yes: bool) -> None:
    """Delete session NAME, whole."""
    from storage.errors import StorageError
    from storage.paths import disk_bytes
    from storage.retention import check_deletable, delete_session

    path = find(root, name)
    if dry_run:
        check_deletable(path)
        click.echo(f"would delete {path} ({size(disk_bytes(path))}{_holds(path)})")
        return
    if not yes:
        raise StorageError(f"nothing was deleted: --yes deletes {path} ({size(disk_bytes(path))}) for good")
    click.echo(f"deleted {path} ({size(delete_session(path))})")


@click.command()
@name_argument
@root_option
@dry_option
def pin(name: str, root: str | None, dry_run: bool) -> None:
    """Keep session NAME from being deleted."""
    _set_pinned(root, name, True, dry_run)


@click.command()
@name_argument
@root_option
@dry_option
def unpin(name: str, root: str | None, dry_run: bool) -> None:
    """Let session NAME be deleted again."""
    _set_pinned(root, name, False, dry_run)


def _set_pinned(root: str | None, name: str, pinned: bool, dry_run: bool) -> None:
    from storage.header import change_header, read_header

    path = find(root, name)
    header = read_header(path) if dry_run else change_header(path, pinned=pinned)
    click.echo(f"{header.name} {'would be' if dry_run else 'is'} {'pinned' if pinned else 'not pinned'}")


def _holds(path: Path) -> str:
    """What would go with it, as far as it can be read."""
    from storage.errors import StorageError
    from storage.views import open_session

    try:
        with open_session(path) as reader:
            books = reader.books()
    except StorageError as error:
        return f"; what it holds cannot be read: {error}"
    frames = sum(row.frames for row in books.episodes.values())
    return f": {frames} frames in {len(books.episodes)} episodes, {books.state.events} events"
