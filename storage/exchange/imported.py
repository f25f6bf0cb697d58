"""A session that is made of something else: begun, gone on with where that was interrupted, ended with what was left out."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from storage.arrays import DEFAULT_CODEC
from storage.errors import ImportProblem, SessionExists
from storage.exchange.common import LeftOut, Notes
from storage.exchange.licence import licence_of
from storage.header import change_header, read_header
from storage.paths import HEADER_FILE
from storage.writer import SessionWriter


@contextmanager
def imported(
    target: Path, source: dict[str, Any], left_out: LeftOut, notes: Notes, *, codec: str = DEFAULT_CODEC
) -> Iterator[SessionWriter]:  # fmt: skip
    """Begin the session at `target`, or go on with it where an import of the same `source` was interrupted.

    `source` says what is imported and how: kind, path, all that tells two imports apart. While it is under way it says that it is not
    `complete`. Raises SessionExists, ImportProblem: what this import began is gone then. Whatever else ends it leaves a valid session.
    """
    source = msgspec.json.decode(msgspec.json.encode({**source, **licence_of(Path(source["path"]))}))
    fresh = not target.exists()
    if not fresh:
        _check_same(target, source)
    try:
        with SessionWriter.create(
            target, name=target.name, source={**source, "complete": False}, codec=codec, commit_events=300, resume=not fresh
        ) as writer:
            yield writer
    except ImportProblem:
        if fresh:
            shutil.rmtree(target, ignore_errors=True)
        raise
    told = {"left_out": [str(bad) for bad in left_out.told()], "left_out_count": left_out.count, "notes": notes.lines()}
    change_header(target, source={**source, "complete": True, **{key: value for key, value in told.items() if value}})


def check_target(target: Path, kind: str) -> dict[str, Any]:
    """The source of an import of this kind that was interrupted at `target`; {} where nothing is. Raises SessionExists."""
    there = read_header(target).source if (target / HEADER_FILE).is_file() else {}
    if target.exists() and (there.get("complete", True) or there.get("kind") != kind):
        raise SessionExists(f"{target} exists: choose another name, or delete it with `toddle sessions delete {target.name} --yes`")
    return there


def _check_same(target: Path, source: dict[str, Any]) -> None:
    there = check_target(target, source["kind"])
    differ = [key for key in source if there.get(key) != source[key]]
    if differ:
        raise SessionExists(
            f"{target} is an import that was interrupted, of something else ({', '.join(differ)} differ): give what was given then, "
            f"or delete it with `toddle sessions delete {target.name} --yes`"
        )
