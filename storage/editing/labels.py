"""What people write on a session: tags and a note. Only session.json changes, no event."""

from collections.abc import Iterable
from pathlib import Path

from storage.errors import EditRefused
from storage.header import Header, change_header, read_header

MAX_TAG = 100
MAX_NOTE = 10_000


def tagged(header: Header, tags: Iterable[str], remove: bool = False) -> list[str]:
    """The tags that a session has when some were added, or with `remove` taken off. Raises EditRefused."""
    tags = list(tags)
    for tag in tags:
        if not tag.strip() or not tag.isprintable() or len(tag) > MAX_TAG:
            raise EditRefused(f"{tag[:40]!r} is no tag: give printable words of at most {MAX_TAG} characters")
        if remove and tag not in header.tags:
            raise EditRefused(f"session {header.name} has no tag {tag!r}; it has {', '.join(header.tags) or 'none'}")
    if remove:
        return [tag for tag in header.tags if tag not in tags]
    return list(dict.fromkeys([*header.tags, *tags]))


def tag(path: Path, tags: Iterable[str], remove: bool = False) -> Header:
    """Write tags on a session, or take them off; its header as it is then."""
    return change_header(path, tags=tagged(read_header(path), tags, remove))


def note(path: Path, text: str) -> Header:
    """Replace the note of a session; its header as it is then. Raises EditRefused."""
    if len(text) > MAX_NOTE:
        raise EditRefused(f"a note has at most {MAX_NOTE} characters, this one {len(text)}")
    return change_header(path, notes=text)
