"""A small file that a node leaves behind for the process that comes after it."""

import logging
from pathlib import Path

from protocol.files import write_whole


class LeftBehind:
    """Written whole or not at all. A disk that takes it no more is one warning, and the node goes on without."""

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self.path = path
        self._log = log
        self._failing = False

    def write(self, text: str) -> None:
        try:
            write_whole(self.path, text.encode())
        except OSError as error:
            if not self._failing:
                self._log.warning("%s cannot be written, so a restarted node would go on from an older place: %s", self.path, error)
            self._failing = True
        else:
            self._failing = False
