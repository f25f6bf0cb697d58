"""What a writer of frames is, for measuring; a bare file, and toddle's own."""

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

FPS = 30
EPISODE = 60
"""Frames of an episode, where the format has them."""
SYNC_BYTES = 32 << 20  # of the bare file: as much as a commit of the recorder
LEVEL = 1
TOPIC = "frame/robot"
START_NS = 10**18

Picture = np.ndarray[Any, np.dtype[np.uint8]]


class FrameWriter(ABC):
    """Made with the folder that it may use and the shape of a frame."""

    needs: tuple[str, ...] = ()
    slow = False
    lossy = False

    @abstractmethod
    def __init__(self, path: Path, shape: tuple[int, ...]) -> None: ...

    @abstractmethod
    def write(self, index: int, picture: Picture) -> None:
        """Returns when the frame is accepted."""

    @abstractmethod
    def close(self) -> None: ...

    @classmethod
    @abstractmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        """Numbers and frames in the folder, in order, as the format's own reader finds them."""

    @classmethod
    def salvage(cls, path: Path) -> int | None:
        """How many frames of a writer that was killed other ready tools find, where its own reader refuses them all."""
        return None


class Bare(FrameWriter):
    """A file that is appended to and synced now and then: what no writer can beat."""

    file = "bare.log"

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = os.open(path / self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._waiting = 0

    def write(self, index: int, picture: Picture) -> None:
        os.writev(self._file, [struct.pack(">Q", index), picture.reshape(-1).data])
        self._waiting += picture.nbytes
        if self._waiting >= SYNC_BYTES:
            os.fdatasync(self._file)
            self._waiting = 0

    def close(self) -> None:
        os.fdatasync(self._file)
        os.close(self._file)

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        data = np.memmap(path / cls.file, np.uint8, "r")
        size = 8 + int(np.prod(shape))
        for row in data[: len(data) // size * size].reshape(-1, size):
            yield int(row[:8].view(">u8")[0]), row[8:].reshape(shape)


class Toddle(FrameWriter):
    """`storage.writer`, as the recorder sets it."""

    codec = "raw"
    commit_events = 5000

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        from protocol import messages as m
        from storage.writer import SessionWriter

        self._m = m
        self._frame = m.Frame()
        self.writer = SessionWriter.create(path / "s", codec=self.codec, commit_events=self.commit_events)

    def write(self, index: int, picture: Picture) -> None:
        t_ns = self.writer.clock.mono_ns()
        envelope = self._m.Envelope(
            topic=TOPIC, source="robot", run="r", seq=index, t_ns=START_NS + t_ns, mono_ns=t_ns, episode=0, step=index,
        )  # fmt: skip
        self.writer.append(self._m.Message(envelope=envelope, body=self._frame, arrays={"image/top": picture}))
        self.writer.tick(t_ns)

    def close(self) -> None:
        self.writer.close()

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        from storage.reader import SessionReader

        with SessionReader(path / "s") as reader:
            for message in reader.events():
                yield message.envelope.seq, message.arrays["image/top"]


class ToddleZstd(Toddle):
    codec = "zstd"


class ToddleDelta(Toddle):
    codec = "delta-zstd"


class ToddleBy30(Toddle):
    commit_events = 30


class ToddleEach(Toddle):
    commit_events = 1
