"""`toddle sessions tag` and `note`: what people write on a session."""

import click

from toddle.sessions.common import dry_option, find, name_argument, root_option


@click.command()
@name_argument
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
@click.option("--remove", is_flag=True, help="Take them off.")
@root_option
@dry_option
def tag(name: str, tags: tuple[str, ...], remove: bool, root: str | None, dry_run: bool) -> None:
    """Put tags on session NAME, or take them off."""
    from storage.editing import labels
    from storage.header import read_header

    path = find(root, name)
    now = labels.tagged(read_header(path), tags, remove) if dry_run else labels.tag(path, tags, remove).tags
    click.echo(f"{path.name} {'would have' if dry_run else 'has'} {'the tags ' + ', '.join(now) if now else 'no tags'}")


@click.command()
@name_argument
@click.argument("text")
@root_option
@dry_option
def note(name: str, text: str, root: str | None, dry_run: bool) -> None:
    """Write TEXT as the note of session NAME, in place of what stands there; an empty one takes it off."""
    from storage.editing import labels
    from storage.header import read_header

    path = find(root, name)
    before = read_header(path).notes
    if not dry_run:
        labels.note(path, text)
    click.echo(f"{path.name}: the note {'would be' if dry_run else 'is'} {text!r}; it was {before!r}")
