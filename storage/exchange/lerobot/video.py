"""Reads the video files of one camera with PyAV, each frame decoded once when they are asked for in order."""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from storage.errors import StorageError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

NEAR = 0.25
"""By how much of a frame's period a frame may stand beside the time it is asked for."""
FAR_S = 4.0
"""Further ahead than this it is looked for from a key frame on, instead of decoding all between."""


def pyav() -> Any:
    """PyAV. Raises StorageError where it is not installed."""
    try:
        import av
        import av.error
    except ImportError:
        raise StorageError("video needs PyAV, which is not installed: python -m pip install -c constraints.txt -e '.[export]'") from None
    return av


class VideoFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a video file says of itself. `duration_s` is None where it says nothing."""

    codec: str
    height: int
    width: int
    fps: float
    duration_s: float | None


def video_facts(file: Path) -> VideoFacts:
    """Raises ValueError that says what is wrong with the file."""
    with _open(file) as container:
        stream = container.streams.video[0]
        length = None if stream.duration is None or stream.time_base is None else float(stream.duration * stream.time_base)
        return VideoFacts(
            codec=stream.codec.canonical_name, height=stream.height, width=stream.width, fps=float(stream.average_rate or 0),
            duration_s=length,
        )  # fmt: skip


class Ended(ValueError):
    """The file has no frames any more."""


class VideoFrames:
    """The frames of one camera by file and time. Use it from one thread; a context manager. `decoded` counts them."""

    def __init__(self, fps: float) -> None:
        self.decoded = 0
        self._period_s = 1 / fps
        self._file: Path | None = None
        self._container: InputContainer | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self._ahead: VideoFrame | None = None
        self._at_s = -1.0
        self._broken: dict[float, str] = {}
        self._end = ""

    def frame(self, file: Path, at_s: float) -> NDArray[np.uint8]:
        """The frame that is shown at `at_s` seconds of the file, [H, W, 3] RGB. Raises ValueError that says why there is none, or Ended."""
        if file != self._file:
            self._begin(file)
        near = NEAR * self._period_s
        if at_s < self._at_s - near or at_s > self._at_s + FAR_S:
            self._seek(at_s)
        while True:
            frame = self._ahead or next(self._frames, None)
            self._ahead = None
            if frame is None:
                raise self._broken_until(math.inf, at_s) or Ended(f"the video ends at {self._at_s + self._period_s:.3f} s{self._end}")
            time_s = _seconds(frame)
            if time_s > at_s + near:
                self._ahead = frame
                gone = ValueError(f"there is no frame at {at_s:.3f} s, the next one is at {time_s:.3f} s")
                raise self._broken_until(time_s, at_s) or gone
            self._at_s = time_s
            if time_s >= at_s - near:
                return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container, self._file = None, None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, file: Path) -> None:
        self.close()
        self._container = _open(file)
        self._file, self._ahead, self._at_s, self._broken, self._end = file, None, -self._period_s, {}, ""
        stream = self._container.streams.video[0]
        # what is damaged is said, not guessed; in threads of its own FFmpeg's H.264 would lose all that comes after it
        stream.thread_type = "NONE"
        stream.codec_context.options = {"err_detect": "explode"}
        self._frames = self._decode()

    def _seek(self, at_s: float) -> None:
        assert self._container is not None
        stream = self._container.streams.video[0]
        base = stream.time_base or Fraction(1, 1000)
        try:
            self._container.seek(max(0, int((at_s - NEAR * self._period_s) / base)), stream=stream, backward=True)
        except pyav().error.FFmpegError as error:
            raise ValueError(f"{at_s:.3f} s cannot be found: {_reason(error)}") from None
        self._ahead, self._at_s = None, at_s
        self._frames = self._decode()

    def _decode(self) -> Iterator["VideoFrame"]:
        """The frames from here on; where one cannot be decoded, that is noted by its time."""
        assert self._container is not None
        failure = pyav().error.FFmpegError
        try:
            for packet in self._container.demux(self._container.streams.video[0]):
                try:
                    frames = packet.decode()
                except failure as error:
                    if packet.pts is not None and packet.time_base is not None:
                        self._broken[float(packet.pts * packet.time_base)] = _reason(error)
                    continue
                for frame in frames:
                    self.decoded += 1
                    if frame.pts is not None:
                        yield frame  # type: ignore[misc]  # of a video stream
        except failure as error:
            self._end = f": {_reason(error)}"

    def _broken_until(self, time_s: float, at_s: float) -> ValueError | None:
        """What the decoder said on the way from the last frame that came to the next one: a damaged frame takes neighbours along."""
        self._broken = {time: why for time, why in self._broken.items() if time > self._at_s}
        late = max(self._broken, default=at_s) + self._period_s
        said = next((why for time, why in sorted(self._broken.items()) if time < time_s), "")
        return ValueError(f"the frame cannot be decoded: {said}") if said and at_s < late else None


def _open(file: Path) -> Any:
    av = pyav()
    if not file.is_file():
        raise ValueError("is missing")
    try:
        container = av.open(str(file))
    except (av.error.FFmpegError, OSError) as error:
        raise ValueError(f"is not a video that can be opened: {_reason(error)}") from None
    if not container.streams.video:
        container.close()
        raise ValueError("holds no video")
    return container


def _seconds(frame: "VideoFrame") -> float:
    return float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base is not None else 0.0


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)[:120]
