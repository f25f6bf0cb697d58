"""`toddle sessions card`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toddle.sessions.common import find, name_argument, root_option
from toddle.sessions.pictures import need_opencv, write_picture

if TYPE_CHECKING:
    from storage.info import SessionInfo

SHEET = "contact-sheet.png"


def _license(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", value):
        raise click.BadParameter(f"{value!r}: give the hub's short name of a licence, such as mit, apache-2.0, cc-by-4.0, other")
    return value


@click.command()
@name_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Where to write README.md and the pictures [card-NAME].")
@click.option(
    "--license",
    "licence",
    callback=_license,
    metavar="ID",
    help="Under which licence, as the hub names it [as the source says, else unknown].",
)
@root_option
def card(name: str, out: Path | None, licence: str | None, root: str | None) -> None:
    """What session NAME is, for people and the Hugging Face hub: README.md with front matter, and a contact sheet.

    Robot, cameras, rates, actions, episodes, splits, losses, source, licence, and a hash of the content that says whether
    another copy is the same.
    """
    import msgspec

    from storage.content_hash import ContentHash
    from storage.errors import StorageError
    from storage.header import read_header
    from storage.views import open_session
    from toddle.sessions.card_text import card_text
    from toddle.sessions.contact_sheet import sheet_of
    from toddle.sessions.measuring import measured

    need_opencv()
    path = find(root, name)
    out = out or Path(f"card-{path.name}")
    readme = out / "README.md"
    if readme.exists():
        raise StorageError(f"{readme} exists: choose another folder with --out, or delete it")
    content = ContentHash()
    info, meter = measured(path, content.add)
    with open_session(path) as reader:
        picture = sheet_of(reader)
        if reader.header.split:  # of a split: what its session was made of
            info = msgspec.structs.replace(info, source={**info.source, "source": read_header(path.with_name(reader.header.split)).source})
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_picture(picture, str(out / SHEET))
        text = card_text(info, meter.result(), content.hexdigest(), splits=_splits(path), licence=licence, sheet=SHEET)
        readme.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{readme} cannot be written: {error.strerror or error}") from None
    click.echo(f"{readme}: {info.name}, {info.frames} frames, content sha256 {content.hexdigest()}")


def _splits(path: Path) -> list[SessionInfo]:
    """What the splits of the session hold."""
    from storage.splitfile import splits_of
    from storage.views import open_session

    found = []
    for name in splits_of(path):
        with open_session(path.with_name(name)) as reader:
            found.append(reader.info())
    return found
