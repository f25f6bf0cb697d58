"""A node's log: JSON lines in the run's folder, and the topic `log/<node>`."""

import json
import logging
import logging.handlers
from collections.abc import Callable
from pathlib import Path

from protocol.bus import Bus
from protocol.messages import LogRecord
from protocol.wiring import Wiring

MAX_LOG_BYTES = 16 << 20
MAX_TEXT = 8000
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"t": round(record.created, 3), "level": record.levelname, "node": record.name, "text": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _Topic(logging.Handler):
    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self.bus = bus

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()[:MAX_TEXT].encode(errors="replace").decode()
            level = record.levelname if record.levelname in LEVELS else "INFO"
            self.bus.publish("log", LogRecord(level=level, logger=record.name, text=text))  # type: ignore[arg-type]
        except Exception:  # a wrong call of somebody's logger must not end the node
            self.handleError(record)


def start_logging(wiring: Wiring, bus: Bus) -> Callable[[], None]:
    """Send the node's log to its file and its topic; returns what ends that."""
    folder = Path(wiring.run_dir) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    to_file = logging.handlers.RotatingFileHandler(folder / f"{wiring.name}.jsonl", maxBytes=MAX_LOG_BYTES, backupCount=2)
    to_file.setFormatter(_JsonLines())
    handlers: list[logging.Handler] = [to_file, _Topic(bus)]
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)

    def stop() -> None:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()

    return stop
