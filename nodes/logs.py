"""A node's log: JSON lines in the run's folder, and the topic `log/<node>`.

The file has everything, within its rotation; the topic has a bound, so that a node that logs in a fast loop
fills neither the bus nor the session: what is over it is counted, and said.
"""

import json
import logging
import logging.handlers
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from protocol.bus import Bus
from protocol.errors import ProtocolError
from protocol.messages import LogRecord
from protocol.wiring import Wiring

MAX_LOG_BYTES = 16 << 20
MAX_TEXT = 8000
MAX_LINES = 100
PERIOD_S = 1.0
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"t": round(record.created, 3), "level": record.levelname, "node": record.name, "text": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Flood:
    """Lets `limit` lines of each level pass in a period, and counts the others. Pure: it is told the time."""

    def __init__(self, limit: int = MAX_LINES, period_s: float = PERIOD_S) -> None:
        self.limit, self.period_s = limit, period_s
        self.held_back = 0
        self._since_s = 0.0
        self._passed: dict[str, int] = {}

    def passes(self, level: str, now_s: float) -> bool:
        """Whether a line of this level may be sent; errors are not crowded out by chatter."""
        if now_s - self._since_s >= self.period_s:
            self._since_s, self._passed = now_s, {}
        self._passed[level] = self._passed.get(level, 0) + 1
        if self._passed[level] <= self.limit:
            return True
        self.held_back += 1
        return False

    def take(self) -> int:
        """How many lines were held back since the last call."""
        count, self.held_back = self.held_back, 0
        return count


class _Topic(logging.Handler):
    def __init__(self, bus: Bus, file: str) -> None:
        super().__init__()
        self.bus, self.file = bus, file
        self.flood = Flood()
        self._notice: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = record.levelname if record.levelname in LEVELS else "INFO"
            if self.flood.passes(level, time.monotonic()):
                self._send(level, record.name, record.getMessage())
            elif self._notice is None:
                self._notice = threading.Timer(PERIOD_S, self._say_held_back)
                self._notice.daemon = True
                self._notice.start()
        except Exception:  # a wrong call of somebody's logger must not end the node
            self.handleError(record)

    def close(self) -> None:
        if self._notice is not None:
            self._notice.cancel()
            self._say_held_back()
        super().close()

    def _say_held_back(self) -> None:
        with cast(threading.RLock, self.lock):
            self._notice = None
            count = self.flood.take()
        if count:
            with suppress(ProtocolError):
                self._send("WARNING", self.bus.wiring.name, f"{count:,} log lines not sent: they came too fast; see {self.file}")

    def _send(self, level: str, logger: str, text: str) -> None:
        text = text[:MAX_TEXT].encode(errors="replace").decode()
        self.bus.publish("log", LogRecord(level=level, logger=logger, text=text), wait=False)  # type: ignore[arg-type]


def start_logging(wiring: Wiring, bus: Bus) -> Callable[[], None]:
    """Send the node's log, and what kills its threads, to its file and its topic; returns what ends that."""
    folder = Path(wiring.run_dir) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{wiring.name}.jsonl"
    to_file = logging.handlers.RotatingFileHandler(file, maxBytes=MAX_LOG_BYTES, backupCount=2, encoding="utf-8")
    to_file.setFormatter(_JsonLines())
    handlers: list[logging.Handler] = [to_file, _Topic(bus, f"logs/{file.name}")]
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    hook, threading.excepthook = threading.excepthook, _thread_ended

    def stop() -> None:
        threading.excepthook = hook
        for handler in handlers:
            root.removeHandler(handler)
            with suppress(OSError):  # a full disk
                handler.close()

    return stop


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None:  # SystemExit: the thread wanted to end
        return
    name = args.thread.name if args.thread else "?"
    trace = (args.exc_type, args.exc_value, args.exc_traceback)
    logging.getLogger("process").error("thread %s has ended: %s: %s", name, args.exc_type.__name__, args.exc_value, exc_info=trace)
