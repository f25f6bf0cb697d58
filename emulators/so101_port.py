"""A pseudo-terminal that somebody answers at, under a path that stays the same."""

import os
import pty
import select
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path

from emulators.so101_packets import Instruction, Parser

READ_BYTES = 4096
REST_COMES_S = 0.02  # a packet whose rest has not come by then never will be whole

Answers = Callable[[Instruction], list[tuple[float, bytes]]]
"""What is said to an instruction: packets, each with how long it takes in seconds."""


class Port:
    """Open from the beginning until `close`; `link` leads to it. Who has it open then sees a device that is gone."""

    def __init__(self, link: Path, answers: Answers) -> None:
        self._answers = answers
        self._link = link
        self._master, self._slave = pty.openpty()  # ours stays open: without any, the master cannot be read
        for end in (self._master, self._slave):
            tty.setraw(end)
        os.set_blocking(self._master, False)
        self._closing = threading.Event()
        self._woken, self._wake = os.pipe()
        _point(link, os.ttyname(self._slave))
        self._thread = threading.Thread(target=self._serve, name="so101", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The device is gone, and its path with it."""
        self._closing.set()
        os.write(self._wake, b"!")
        self._thread.join()
        self._link.unlink(missing_ok=True)
        for end in (self._master, self._slave, self._woken, self._wake):
            os.close(end)

    def _serve(self) -> None:
        parser, heard_s = Parser(), 0.0
        while not self._closing.is_set():
            select.select([self._master, self._woken], [], [])
            if self._closing.is_set():
                return
            now_s = time.monotonic()
            if parser.waiting and now_s - heard_s > REST_COMES_S:
                parser.clear()
            heard_s = now_s
            for asked in parser.feed(os.read(self._master, READ_BYTES)):
                self._say(self._answers(asked))

    def _say(self, answers: list[tuple[float, bytes]]) -> None:
        """Write what can be written at once together; what nobody reads is lost, as on a wire."""
        ready = b""
        for late_s, said in answers:
            if late_s:
                self._write(ready)
                self._closing.wait(late_s)
                ready = b""
            ready += said
        self._write(ready)

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._master, data)
        except BlockingIOError:
            return


def _point(link: Path, target: str) -> None:
    """Have `link` lead to `target`, from one moment to the next."""
    new = link.with_name(f".{link.name}-{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)
