"""What can be wrong with a launch file or a run, said in one line."""

import difflib
from collections.abc import Iterable


class LaunchError(Exception):
    """A wrong launch file, command line or run folder; `line` 0 stands for the whole file."""

    def __init__(self, file: str, line: int, text: str) -> None:
        self.file, self.line, self.text = file, line, text
        place = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(f"{place}{text}")


def nearest(word: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` when a name comes near, else the names that are known."""
    known = sorted(set(names))
    close = difflib.get_close_matches(word, known, 1, 0.6)
    close = close or [name for name in known if word and (word in name or name in word)]
    close = close or difflib.get_close_matches(word, known, 1, 0.4)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""
