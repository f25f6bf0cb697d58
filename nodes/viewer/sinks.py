"""Where pictures go: a window, PNG files, a video. Pictures come in as RGB uint8 [H, W, 3].

opened = open_sinks(config, run_folder / "viewer")
for note in opened.notes: log.info(note)          # such as "no window: DISPLAY is not set; ..."
for sink in opened.sinks: sink.show(picture, now_mono_s)
key = opened.window.poll_key() if opened.window else None
for sink in opened.sinks: sink.close()
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

from nodes.viewer.config import ViewerConfig
from nodes.viewer.keys import decode_cv_key
from protocol.files import write_whole

UInt8Array = np.ndarray[Any, np.dtype[np.uint8]]

_PROBE = """
import cv2, sys
cv2.namedWindow("toddle: testing the display", cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
sys.stdout.write("open\\n")
sys.stdout.flush()
sys.stdin.read()
"""
_QT_QUIET = {"QT_LOGGING_RULES": "*.warning=false"}  # OpenCV's wheel brings no fonts, and Qt says so at length


class SinkError(RuntimeError):
    """A picture cannot be shown or written: what failed, where, and what to do."""


class Sink(Protocol):
    """Takes pictures until it is closed."""

    def show(self, picture: UInt8Array, now_mono_s: float) -> None: ...

    def close(self) -> None: ...


class WindowSink:
    """A window. Make it, and call it, on the process's main thread only; inside `tried_display`."""

    def __init__(self, title: str, size: tuple[int, int]) -> None:
        self._title = title
        self._shown = False
        self._gone = False
        for name, value in _QT_QUIET.items():
            os.environ.setdefault(name, value)
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
            cv2.resizeWindow(title, *size)
        except cv2.error as error:
            raise SinkError(f"OpenCV cannot open a window ({_first_line(error)}): set window: false") from error
        self._bgr = np.empty((size[1], size[0], 3), dtype=np.uint8)

    def show(self, picture: UInt8Array, now_mono_s: float = 0.0) -> None:
        """Put the picture up; it appears at the next `poll_key`."""
        if self.closed:
            return
        if picture.shape != self._bgr.shape:
            self._bgr = np.empty_like(picture)
        cv2.imshow(self._title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR, dst=self._bgr))
        self._shown = True

    def poll_key(self) -> str | None:
        """Let the window live for a millisecond; the name of a key that was pressed, or None."""
        return None if self.closed else decode_cv_key(cv2.waitKeyEx(1))

    @property
    def closed(self) -> bool:
        """Whether the window is gone: the person closed it, or `close` did."""
        if self._shown and not self._gone:
            try:
                self._gone = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
            except cv2.error:  # Qt has no window at all any more
                self._gone = True
        return self._gone

    def close(self) -> None:
        """Take the window away; a second call does nothing."""
        if not self.closed:
            cv2.destroyWindow(self._title)
            cv2.waitKeyEx(1)
            self._gone = True


class PngSink:
    """Files in a folder: `latest.png`, replaced in one go at most every `every_s` seconds and at the end, and
    numbered pictures that a person asks for. With `every_s` 0 `latest.png` is written at the end only."""

    def __init__(self, folder: Path, every_s: float) -> None:
        self.folder = folder
        self.latest = folder / "latest.png"
        self._every_s = every_s
        self._written_at: float | None = None
        self._unwritten: UInt8Array | None = None
        self._pending = False
        folder.mkdir(parents=True, exist_ok=True)
        taken = (path.stem for path in folder.glob("[0-9][0-9][0-9][0-9].png"))
        self._number = max((int(stem) for stem in taken), default=0)

    def show(self, picture: UInt8Array, now_mono_s: float) -> None:
        """Write the picture when it is time; else keep a copy for the end."""
        due = self._written_at is None or now_mono_s - self._written_at >= self._every_s
        if self._every_s > 0 and due:
            write_png(self.latest, picture)
            self._written_at, self._pending = now_mono_s, False
            return
        if self._unwritten is None or self._unwritten.shape != picture.shape:
            self._unwritten = np.empty_like(picture)
        np.copyto(self._unwritten, picture)
        self._pending = True

    def snapshot(self, picture: UInt8Array) -> Path:
        """Write the picture under the next number, and say where."""
        self._number += 1
        path = self.folder / f"{self._number:04d}.png"
        write_png(path, picture)
        return path

    def close(self) -> None:
        """Write the last picture."""
        if self._pending and self._unwritten is not None:
            write_png(self.latest, self._unwritten)
            self._pending = False


class Mp4Sink:
    """A video as long as the run: every picture fills the time since the one before, at most `longest_s`."""

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: float, longest_s: float = 3.0) -> None:
        self._size = (size[0] // 2 * 2, size[1] // 2 * 2)  # encoders want even sizes
        self._rate_hz = rate_hz
        self._most = max(1, round(longest_s * rate_hz))
        self._next_at: float | None = None
        self.note = ""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self._writer = path, self._open(path, "mp4v")
        if not self._writer.isOpened():
            self.path = path.with_suffix(".avi")
            self.note = f"this OpenCV has no MP4 encoder: the video is {self.path.name}, Motion JPEG"
            self._writer = self._open(self.path, "MJPG")
        if not self._writer.isOpened():
            raise SinkError(f"cannot write {path} nor {self.path}: is the folder writable? Or set mp4: false")

    def _open(self, path: Path, code: str) -> cv2.VideoWriter:
        return cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), self._rate_hz, self._size)

    def show(self, picture: UInt8Array, now_mono_s: float) -> None:
        """Add as many frames as time went by; none when the last is still on."""
        if self._next_at is None:
            self._next_at = now_mono_s
        due = int((now_mono_s - self._next_at) * self._rate_hz + 1e-6) + 1
        if due < 1 or now_mono_s < self._next_at - 1e-6:
            return
        width, height = self._size
        bgr = cv2.cvtColor(picture[:height, :width], cv2.COLOR_RGB2BGR)
        for _ in range(min(due, self._most)):
            self._writer.write(bgr)
        self._next_at += due / self._rate_hz

    def close(self) -> None:
        """Finish the file; without this a video cannot be played."""
        self._writer.release()


class Opened(NamedTuple):
    """What `open_sinks` opened, and what a person should know about it."""

    sinks: list[Sink]
    window: WindowSink | None
    png: PngSink
    notes: list[str]


def open_sinks(config: ViewerConfig, folder: Path) -> Opened:
    """Open what the config asks for. Raises SinkError when it asks for a window and there can be none."""
    png = PngSink(folder, config.png_every_s)
    sinks: list[Sink] = [png]
    notes: list[str] = []
    window = None
    if config.window is False:
        notes.append(f"no window, as configured; the picture is {png.latest}")
    else:
        with tried_display() as problem:
            if problem is None:
                window = WindowSink(config.title, config.size)
                sinks.insert(0, window)
            elif config.window:
                raise SinkError(f"no window: {problem}. Set window: false, and look at {png.latest}")
            else:
                notes.append(f"no window: {problem}; the picture is {png.latest}")
    if config.mp4:
        video = Mp4Sink(folder / "video.mp4", config.size, config.mp4_rate_hz)
        sinks.append(video)
        notes.append(video.note or f"video: {video.path}")
    return Opened(sinks, window, png, notes)


def window_problem(timeout_s: float = 20.0) -> str | None:
    """Why no window can be opened here, or None."""
    with tried_display(timeout_s) as problem:
        return problem


@contextmanager
def tried_display(timeout_s: float = 20.0) -> Iterator[str | None]:
    """Yield why no window can be opened here, or None: then a window may be opened inside the block.

    Qt ends the process when it cannot reach the display, so a process of its own tries first; the cheap
    reasons are looked at before that. It stays connected for the block, because a bare X server (Xvfb)
    starts anew, and refuses, in the moment after its last client left.
    """
    problem = _cheap_problem()
    if problem is not None:
        yield problem
        return
    process = subprocess.Popen(
        [sys.executable, "-c", _PROBE], env={**os.environ, **_QT_QUIET},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    timer = threading.Timer(timeout_s, process.kill)
    timer.start()
    try:
        opened = process.stdout.readline().strip() == b"open"
        late = not timer.is_alive()
        timer.cancel()
        if opened:
            yield None
            return
        _, errors = process.communicate(timeout=timeout_s)
        lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
        why = lines[-1].strip()[:160] if lines else f"exit {process.returncode}"
        yield f"a test window took longer than {timeout_s:g} s" if late else f"a test window failed ({why})"
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
        process.communicate()


def _cheap_problem() -> str | None:
    """Reasons that need no window to be seen; only Linux has any."""
    if not sys.platform.startswith("linux"):
        return None
    display = os.environ.get("DISPLAY", "")
    if not display and not os.environ.get("WAYLAND_DISPLAY"):
        return "neither DISPLAY nor WAYLAND_DISPLAY is set"
    if display.startswith(":") and not _local_display_answers(display):
        return f"nothing answers at DISPLAY {display}"
    return None


def _local_display_answers(display: str) -> bool:
    """Whether an X server listens at a local display such as ":0" or ":99.0" (file or abstract socket)."""
    number = display[1:].partition(".")[0]
    for address in (f"/tmp/.X11-unix/X{number}", f"\0/tmp/.X11-unix/X{number}"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(2.0)
            try:
                client.connect(address)
            except OSError:
                continue
            return True
    return False


def write_png(path: Path, picture: UInt8Array) -> None:
    """Write an RGB picture so that a reader sees the old file or the whole new one. Raises SinkError."""
    ok, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    try:
        if not ok:
            raise OSError("OpenCV could not encode it")
        write_whole(path, data.tobytes())
    except OSError as error:
        raise SinkError(f"cannot write {path}: {error}. Is there room on the disk?") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
