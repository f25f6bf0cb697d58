"""`toddle sessions pin`, `unpin` and `delete`: what stays, and what goes."""

import click

from toddle.sessions.common import find, name_argument, root_option, size


@click.command()
@name_argument
@root_option
@click.option("--yes", is_flag=True, help="Really delete it; there is no way back.")
def delete(name: str, root: str | None, yes: bool) -> None:
    """Delete session NAME, whole."""
    from storage.errors import StorageError
    from storage.paths import disk_bytes
    from storage.retention import delete_session

    path = find(root, name)
    if not yes:
        raise StorageError(f"nothing was deleted: --yes deletes {path} ({size(disk_bytes(path))}) for good")
    click.echo(f"deleted {path} ({size(delete_session(path))})")


@click.command()
@name_argument
@root_option
def pin(name: str, root: str | None) -> None:
    """Keep session NAME from being deleted."""
    _set_pinned(root, name, True)


@click.command()
@name_argument
@root_option
def unpin(name: str, root: str | None) -> None:
    """Let session NAME be deleted again."""
    _set_pinned(root, name, False)


def _set_pinned(root: str | None, name: str, pinned: bool) -> None:
    from storage.header import change_header

    header = change_header(find(root, name), pinned=pinned)
    click.echo(f"{header.name} is {'pinned' if pinned else 'not pinned'}")
