"""Cameras that are not there, as lerobot's own ZMQCamera takes them.

Each has a port, where it publishes `{"timestamps": {name: s}, "images": {name: JPEG in base64}}`. lerobot compresses its RGB pictures
without exchanging the colours, and takes them the same way: so other programs see red and blue exchanged.
"""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self

import av
import cv2
import numpy as np
import zmq

from emulators.errors import EmulatorError
from emulators.so101_drawing import Picture, pose

QUALITY = 90
USUAL_FPS, FASTEST_FPS = 30.0, 240.0
HOST = "127.0.0.1"


class Source(Protocol):
    """Where pictures come from, so many a second."""

    fps: float
    size: tuple[int, int]

    def picture(self, frame: int) -> np.ndarray:
        """The next one, HxWx3 uint8 RGB; `frame` counts."""

    def close(self) -> None:
        """Let go of it."""


class Drawn:
    """The arm as it stands, drawn."""

    def __init__(
        self, name: str, seed: int, size: tuple[int, int], fps: float,
        positions: Callable[[], dict[str, int]], lowest: dict[str, int],
    ) -> None:  # fmt: skip
        self.fps, self.size = fps, size
        self._positions, self._lowest = positions, lowest
        self._drawing = Picture(name, seed, size)

    def picture(self, frame: int) -> np.ndarray:
        return self._drawing.draw(pose(self._positions(), self._lowest), frame)

    def close(self) -> None:
        """Nothing is open."""


class Video:
    """A recorded video, from the beginning again when it is over, at its own size and rate."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise EmulatorError(f"{path} is not there: give a video file, or 'drawn' for a picture of the arm")
        self._path = path
        try:
            self._video = av.open(path)
            self._stream = self._video.streams.video[0]
            self._stream.codec_context.thread_count = 1
            self._pictures = self._video.decode(self._stream)
            first = next(self._pictures)
        except (av.FFmpegError, IndexError, StopIteration):
            raise EmulatorError(f"{path} is not a video that FFmpeg reads: give another, or 'drawn' for a picture of the arm") from None
        said = float(self._stream.average_rate or 0)
        self.fps = said if 0 < said <= FASTEST_FPS else USUAL_FPS
        self.size = first.width, first.height
        self._shown = first.to_ndarray(format="rgb24")
        self._rewind()

    def picture(self, frame: int) -> np.ndarray:
        try:
            self._shown = self._next()
        except (av.FFmpegError, StopIteration) as error:
            logging.warning("%s can no longer be read (%s): its camera shows the last picture", self._path, error)
        return self._shown

    def close(self) -> None:
        self._video.close()

    def _next(self) -> np.ndarray:
        seen = next(self._pictures, None)
        if seen is None:
            self._rewind()
            seen = next(self._pictures)
        return seen.to_ndarray(format="rgb24", width=self.size[0], height=self.size[1])

    def _rewind(self) -> None:
        self._video.seek(0)
        self._pictures = self._video.decode(self._stream)


class CameraServer:
    """Publishes a source's pictures at its rate from the beginning until `close`; `fault` is the name of one, or empty."""

    def __init__(self, name: str, source: Source, port: int) -> None:
        self.name, self.fault = name, ""
        self._source = source
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, 2)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(f"tcp://{HOST}:{port or '*'}")
        except zmq.ZMQError as error:
            self._socket.close()
            self._context.term()
            source.close()
            raise EmulatorError(f"camera {name} cannot have port {port}: {error.strerror}; give another with --camera-port") from None
        self.port = int(self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"camera-{name}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def options(self) -> dict[str, Any]:
        """Of lerobot's ZMQCameraConfig."""
        width, height = self._source.size
        return {
            "type": "zmq", "server_address": HOST, "port": self.port, "camera_name": self.name,
            "width": width, "height": height, "fps": round(self._source.fps),
        }  # fmt: skip

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._socket.close()
        self._context.term()
        self._source.close()

    def _serve(self) -> None:
        said, frame, due_s = "", 0, time.monotonic()
        while not self._closing.wait(max(0.0, due_s - time.monotonic())):
            if self.fault != "camera-gone":
                if self.fault != "camera-frozen" or not said:
                    said = encode(self._source.picture(frame))
                self._socket.send_string(json.dumps({"timestamps": {self.name: time.time()}, "images": {self.name: said}}))
            frame += 1
            due_s = max(due_s + 1 / self._source.fps, time.monotonic())  # who was held up does not rush afterwards


def encode(picture: np.ndarray) -> str:
    """HxWx3 uint8 RGB as lerobot sends it."""
    _, data = cv2.imencode(".jpg", picture, [int(cv2.IMWRITE_JPEG_QUALITY), QUALITY])
    return base64.b64encode(data).decode()
