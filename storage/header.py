"""`session.json`: what a session is, readable by people. Counts and gaps are not here: they are beside the data."""

import datetime
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import msgspec

from protocol.messages import Robot
from storage.arrays import codecs_for
from storage.errors import CorruptSession, SessionNotFound
from storage.paths import HEADER_FILE, sync_folder

FORMAT = 2


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content. Times are ISO 8601 in UTC; `source` says where imported data came from.

    `split` names the session beside this one of which it is a split: it has no events of its own, see `editing/splits.py`.
    """

    format: int = FORMAT
    name: str
    created: str
    toddle: str
    robot: Robot | None = None
    codecs: dict[str, str]
    sync_interval_s: float
    pinned: bool = False
    source: dict[str, Any] = {}
    notes: str = ""
    tags: list[str] = []
    derived_from: list[str] = []
    split: str = ""


def new_header(name: str, codec: str, sync_interval_s: float, source: dict[str, Any]) -> Header:
    """The header of a session that begins now. Raises StorageError on an unknown codec."""
    try:
        version = importlib.metadata.version("toddle-robotics")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    created = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    return Header(name=name, created=created, toddle=version, codecs=codecs_for(codec), sync_interval_s=sync_interval_s, source=source)


def read_header(path: Path) -> Header:
    """The header of the session at `path`. Raises SessionNotFound, CorruptSession."""
    file = path / HEADER_FILE
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise SessionNotFound(f"no session at {path}: it has no {HEADER_FILE}") from None
    try:
        header = msgspec.json.decode(data, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CorruptSession(f"{file} is not a session header: {error}") from None
    if header.format != FORMAT:
        raise CorruptSession(
            f"{file} says format {header.format}, this toddle reads {FORMAT}: use the toddle that wrote it ({header.toddle})"
        )
    return header


def write_header(path: Path, header: Header) -> None:
    """Replace the header of the session at `path`, whole or not at all, also through a power cut."""
    temporary = path / f".{HEADER_FILE}.{os.getpid()}"
    with temporary.open("wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(header), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path / HEADER_FILE)
    sync_folder(path)


def change_header(path: Path, **fields: Any) -> Header:
    """Set fields of the header and keep the rest as it stands on disk; the header as it is now."""
    header = msgspec.structs.replace(read_header(path), **fields)
    write_header(path, header)
    return header
