"""Says aloud where a recording stands. Whatever the voice does, nothing waits for it."""

import logging
import shutil
import subprocess
import threading
from contextlib import suppress
from queue import Empty, Full, Queue

from protocol.messages import EpisodeMark

VOICES: tuple[tuple[str, ...], ...] = (("spd-say", "--wait"), ("espeak-ng",), ("espeak",), ("say",))
LIMIT_S = 10.0
"""A voice that has not ended by then is killed."""


def words(mark: EpisodeMark, episode: int) -> str:
    """What is said of a mark; empty for most. People count from 1."""
    said = {"start": f"Episode {episode + 1}", "end": f"Episode {episode + 1} is over", "discard": "Discarded"}
    return said.get(mark.mark, "")


def voice() -> list[str]:
    """The first that is installed, as a command without its text; empty when none is."""
    return next(([found, *options] for name, *options in VOICES if (found := shutil.which(name))), [])


class Speaker:
    """Speaks on a thread of its own, one text after the other; what comes while two wait is not said."""

    def __init__(self, command: list[str], log: logging.Logger, limit_s: float = LIMIT_S) -> None:
        self._command, self._log, self._limit_s = command, log, limit_s
        self._texts: Queue[str] = Queue(2)
        self._over = threading.Event()
        self._told = False
        if command:
            threading.Thread(target=self._run, name="speaking", daemon=True).start()
        else:
            log.info("nothing is spoken: install one of %s", ", ".join(name for name, *_ in VOICES))

    def say(self, text: str) -> None:
        """Soon, or not at all; returns at once."""
        if text and self._command:
            with suppress(Full):
                self._texts.put_nowait(text)

    def close(self) -> None:
        """Nothing more is begun; what is being said may end."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                self._speak(self._texts.get(timeout=0.5))
            except Empty:
                continue

    def _speak(self, text: str) -> None:
        try:
            subprocess.run([*self._command, text], timeout=self._limit_s, check=True, stdin=subprocess.DEVNULL, capture_output=True)
        except (OSError, subprocess.SubprocessError) as error:
            if not self._told:
                self._told = True
                self._log.warning("%s does not speak: %s", self._command[0], error)
