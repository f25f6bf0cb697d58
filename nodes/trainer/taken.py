"""What a trainer has handled, left behind for the process that comes after it.

A restarted trainer asks its publishers for all they still hold: what it has not seen, and what it has,
because its memory is empty. Numbers up to those in this file are no loss where nobody holds them any more.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from nodes.leftbehind import LeftBehind
from protocol.books import Resume


def save(file: LeftBehind, handled: Mapping[str, tuple[str, int]]) -> None:
    """Topic to (run, last number)."""
    file.write(json.dumps(handled))


def load(path: Path) -> dict[str, Resume]:
    """Where to go on, by topic; empty for a first process, or when the file cannot be used."""
    try:
        return {str(topic): Resume(str(run), 0, int(seq)) for topic, (run, seq) in json.loads(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
