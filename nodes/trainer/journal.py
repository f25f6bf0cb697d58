"""The log of a training: `train.jsonl` in the run's folder, a line a moment, and whoever else wants to know.

    journal = Journal(run_dir / "train.jsonl", [Aside("tensorboard", lambda: TensorBoard(run_dir), warn)])
    journal.numbers("step", {"loss": 0.1}, samples=160)

Each line is appended and closed: what was written is there after a kill. Nothing that goes wrong here stops a training.
"""

import json
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

WAITING = 64
LAST_S = 10.0
Warn = Callable[[str], None]


class Sink(Protocol):
    """Where numbers and pictures may go too."""

    def numbers(self, values: Mapping[str, float], samples: int) -> None: ...

    def picture(self, name: str, picture: np.ndarray, samples: int) -> None:
        """uint8 [H, W, 3]."""
        ...

    def close(self) -> None: ...


class Aside:
    """A sink in a thread of its own: one that fails is given up with one warning, one that hangs keeps nobody waiting."""

    def __init__(self, name: str, make: Callable[[], Sink], warn: Warn) -> None:
        self.name, self._make, self._warn = name, make, warn
        self._jobs: queue.Queue[Callable[[Sink], None] | None] = queue.Queue(WAITING)
        self._gone = threading.Event()
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def do(self, job: Callable[[Sink], None]) -> None:
        if self._gone.is_set():
            return
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Waits a while for what is still to be written."""
        until_s = time.monotonic() + LAST_S
        with suppress(queue.Full):
            self._jobs.put(None, timeout=LAST_S)
        self._thread.join(max(0.0, until_s - time.monotonic()))
        if self._thread.is_alive():
            self._warn(f"{self.name} does not end; what it still holds may be missing")
        elif self.dropped:
            self._warn(f"{self.name} was too slow for {self.dropped} entries; train.jsonl has them all")

    def _work(self) -> None:
        try:
            sink = self._make()
            while (job := self._jobs.get()) is not None:
                job(sink)
            sink.close()
        except Exception as error:  # whatever a library raises, training goes on
            self._gone.set()
            words = (str(error).splitlines() or [""])[0] or type(error).__name__
            self._warn(f"{self.name} is left out from here on: {words}; train.jsonl goes on")


class Journal:
    """One file, any number of sinks beside it."""

    def __init__(self, path: Path, asides: Sequence[Aside] = (), warn: Warn = lambda text: None) -> None:
        self._asides, self._warn = asides, warn
        self._start_s = time.monotonic()
        self._path: Path | None = path

    def numbers(self, kind: str, values: Mapping[str, float], samples: int) -> None:
        """A line; what is not finite is null, and not sent to the sinks."""
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        self._line({"kind": kind, "samples": samples, **{name: finite.get(name) for name in values}})
        for aside in self._asides:
            aside.do(lambda sink: sink.numbers({f"{kind}/{name}": value for name, value in finite.items()}, samples))

    def event(self, text: str, **more: Any) -> None:
        self._line({"kind": "event", "text": text, **more})

    def picture(self, name: str, picture: np.ndarray, samples: int) -> None:
        """For the sinks alone."""
        for aside in self._asides:
            aside.do(lambda sink: sink.picture(name, picture, samples))

    @property
    def wants_pictures(self) -> bool:
        return bool(self._asides)

    def close(self) -> None:
        for aside in self._asides:
            aside.close()

    def _line(self, record: dict[str, Any]) -> None:
        if self._path is None:
            return
        record = {"at": round(time.time(), 3), "run_s": round(time.monotonic() - self._start_s, 3), **record}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            self._path = None
            self._warn(f"train.jsonl cannot be written: {error.strerror}; training goes on without it")
