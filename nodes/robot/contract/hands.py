"""The thread of a driver under test: its calls are made there, with a limit; `stop` comes from other threads."""

import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import FrameType
from typing import Any

from nodes.robot.interface import Robot, RobotError


class Hung(Exception):
    """A call did not come back; the message says which and where it is."""


class Broken(Exception):
    """A call raised what is no RobotError; the message says what, and the file and line."""


@dataclass
class Busy:
    """A call that was begun."""

    what: str
    call: Callable[[], Any]
    limit_s: float
    thread: threading.Thread
    begun: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: Exception | None = None

    def run(self) -> None:
        self.begun.set()
        try:
            self.value = self.call()
        except Exception as error:  # a driver's, of any kind
            self.error = error
        self.ended.set()

    def result(self) -> Any:
        """What it returned. Raises its RobotError, Broken for any other exception, Hung when it does not end in time."""
        if not self.ended.wait(self.limit_s):
            frame = sys._current_frames().get(self.thread.ident or 0)
            raise Hung(f"{self.what} has not come back after {self.limit_s:g} s{_at(frame)}; if it needs longer, give --limit-s")
        if isinstance(self.error, RobotError):
            raise self.error
        if self.error is not None:
            raise Broken(f"{self.what} raised {type(self.error).__name__}: {self.error}, {_where(self.error)}; drivers raise RobotError")
        return self.value


class Hands:
    """Makes the calls of a driver, one after another."""

    def __init__(self, limit_s: float) -> None:
        self.driver: Robot | None = None
        self._limit_s = limit_s
        self._calls: SimpleQueue[Busy] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="driver", daemon=True)
        self._thread.start()

    def begin(self, what: str, call: Callable[..., Any], *args: Any) -> Busy:
        """Begin a call; returns once it runs."""
        busy = Busy(what, lambda: call(*args), self._limit_s, self._thread)
        self._calls.put(busy)
        if not busy.begun.wait(self._limit_s):
            raise Hung(f"{what} could not begin: the call before it has not ended")
        return busy

    def call(self, what: str, call: Callable[..., Any], *args: Any) -> Any:
        """Make a call and wait for its end; raises as `Busy.result` does."""
        return self.begin(what, call, *args).result()

    def stop(self, patience_s: float) -> float:
        """Call `stop` from a thread of its own; how long it took. Raises Hung when it does not come back at all."""
        assert self.driver is not None
        thread = threading.Thread(target=lambda: busy.run(), name="stop", daemon=True)
        busy = Busy("stop", self.driver.stop, max(self._limit_s, patience_s), thread)
        begin_s = time.monotonic()
        thread.start()
        busy.result()
        return time.monotonic() - begin_s

    def _work(self) -> None:
        while True:
            self._calls.get().run()


def _where(error: Exception) -> str:
    """The last line of an exception's way that is in somebody's own code, not in a library."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(frame.filename)] or list(frames)
    return f"{own[-1].filename}:{own[-1].lineno}"


def _at(frame: FrameType | None) -> str:
    innermost = frame
    while frame is not None and not _is_own(frame.f_code.co_filename):
        frame = frame.f_back
    frame = frame or innermost
    return f": it is at {frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def _is_own(filename: str) -> bool:
    library = (f"{sys.prefix}/", f"{sys.base_prefix}/lib", "<frozen")
    return filename != __file__ and not filename.startswith(library)
