"""Keys of a person in the terminal, also over SSH: what each one asks, and how they are read."""

import os
import re
import select
import sys
from contextlib import suppress
from typing import Any, NamedTuple, TextIO

HELP = "Esc HALT   space pause/go on   q stop   r next   d discard   m success   f failure   0-9 drive   y yes   n step"
ESC = "\x1b"
_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|O[@-~])")  # arrows, function keys


class Ask(NamedTuple):
    """A control request to every node of a kind; the kind `launcher` is the launcher itself."""

    kind: str
    command: str
    args: dict[str, Any]


def ask(key: str, paused: bool) -> Ask | None:
    """What a key asks for."""
    if key.isascii() and key.isdigit():
        return Ask("predictor", "drive", {"index": int(key)})
    return {
        ESC: Ask("robot", "halt", {}),
        " ": Ask("robot", "resume" if paused else "pause", {}),
        "n": Ask("robot", "step", {}),
        "y": Ask("predictor", "confirm", {}),
        "m": Ask("robot", "mark", {"mark": "success"}),
        "f": Ask("robot", "mark", {"mark": "failure"}),
        "d": Ask("robot", "mark", {"mark": "discard"}),
        "r": Ask("robot", "reset", {}),
        "q": Ask("launcher", "stop", {}),
    }.get(key.lower())


class Keys:
    """Reads single keys from a terminal; with anything else than a terminal there are none."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._fd: int | None = None
        self._saved: list[Any] | None = None
        self._open(stream or sys.stdin)

    def _open(self, stream: TextIO | None) -> None:
        try:
            import termios  # absent on Windows
            import tty

            if stream is None or not stream.isatty() or os.tcgetpgrp(stream.fileno()) != os.getpgrp():
                return  # no terminal, or in the background: reading would stop this process
            fd = stream.fileno()
            self._saved = termios.tcgetattr(fd)
            tty.setcbreak(fd)
            self._fd = fd
        except (ImportError, OSError, ValueError):
            return

    @property
    def active(self) -> bool:
        return self._fd is not None

    def read(self) -> str:
        """The keys pressed since the last call; of several with Esc only that. Escape sequences (arrows) are passed over."""
        if self._fd is None or not select.select([self._fd], [], [], 0)[0]:
            return ""
        try:
            text = os.read(self._fd, 64).decode(errors="ignore")
        except OSError:
            return ""
        text = _SEQUENCE.sub("", text)
        return ESC if ESC in text else text

    def close(self) -> None:
        """Give the terminal back as it was. Idempotent."""
        if self._fd is None or self._saved is None:
            return
        import termios

        fd, self._fd = self._fd, None
        with suppress(termios.error, OSError):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSADRAIN, self._saved)
