"""Files that a reader sees as they were or as they are to be, never in between."""

import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Make or replace the file at `path`, whoever else does so at the same time. Raises OSError; then nothing has changed."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
