"""What can be wrong with a launch file or a run, said in one line."""

import difflib
from collections.abc import Iterable

from protocol.errors import one_line

MAX_WORD = 100
"""Longer ones are no slips of the finger, and comparing them takes long."""


class LaunchError(Exception):
    """A wrong launch file, command line or run folder; `line` 0 stands for the whole file."""

    def __init__(self, file: str, line: int, text: str) -> None:
        self.file, self.line, self.text = file, line, one_line(text)
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(f"{place}{self.text}")


def nearest(word: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` when a name comes near, else the names that are known."""
    known = sorted(set(names))
    word = word[:MAX_WORD]
    close = difflib.get_close_matches(word, known, 1, 0.6)
    close = close or [name for name in known if word and (word in name or name in word)]
    close = close or difflib.get_close_matches(word, known, 1, 0.4)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""
