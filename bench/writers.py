"""Writers of frames that are measured side by side: toddle's, those of other formats, and a bare file.

Each takes frames by their number and says how many of them its own format's reader finds again. What a writer needs is
imported when it is made: `missing` says whether it is there.
"""

import importlib.util
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

FPS = 30
EPISODE = 60
"""Frames of an episode, where the format has them."""
SYNC_FRAMES = 100  # of the bare file: 30 MB, as much as a commit of the recorder
LEVEL = 1
TOPIC = "frame/robot"
_START_NS = 10**18

Picture = np.ndarray[Any, np.dtype[np.uint8]]


class FrameWriter:
    """Made with the folder that it may use and the shape of a frame."""

    needs: tuple[str, ...] = ()
    slow = False
    lossy = False

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None: ...

    def write(self, index: int, picture: Picture) -> None:
        """Returns when the frame is accepted."""
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        """Numbers and frames in the folder, in order, as the format's own reader finds them."""
        raise NotImplementedError


class Bare(FrameWriter):
    """A file that is appended to and synced now and then: what no writer can beat."""

    file = "bare.log"

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = os.open(path / self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, index: int, picture: Picture) -> None:
        os.writev(self._file, [struct.pack(">Q", index), picture.reshape(-1).data])
        if index % SYNC_FRAMES == SYNC_FRAMES - 1:
            os.fdatasync(self._file)

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
            topic=TOPIC, source="robot", run="r", seq=index, t_ns=_START_NS + t_ns, mono_ns=t_ns, episode=0, step=index,
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


class Mcap(FrameWriter):
    """The `mcap` package's writer, as it is set when nothing is said, but for the compression."""

    needs = ("mcap",)
    compressed = False

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        from mcap import writer as mcap

        if self.compressed:
            import zstandard

            mcap.zstandard = zstandard.ZstdCompressor(level=LEVEL)  # it asks for no level, and means 3
        kind = mcap.CompressionType.ZSTD if self.compressed else mcap.CompressionType.NONE
        self._writer = mcap.Writer(str(path / "f.mcap"), compression=kind)
        self._writer.start()
        schema = self._writer.register_schema("frame", "", b"")
        self._channel = self._writer.register_channel(TOPIC, "raw", schema)

    def write(self, index: int, picture: Picture) -> None:
        t_ns = _START_NS + index
        self._writer.add_message(self._channel, t_ns, picture.tobytes(), t_ns, sequence=index)

    def close(self) -> None:
        self._writer.finish()

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        from mcap.records import Chunk, Message
        from mcap.stream_reader import StreamReader, breakup_chunk

        with (path / "f.mcap").open("rb") as file:
            for record in StreamReader(file, emit_chunks=True).records:
                for inner in breakup_chunk(record) if isinstance(record, Chunk) else ():
                    if isinstance(inner, Message):
                        yield inner.sequence, np.frombuffer(inner.data, np.uint8).reshape(shape)


class McapZstd(Mcap):
    compressed = True


class Rosbags(FrameWriter):
    """The `rosbags` package's writer of rosbag2 bags, into MCAP files."""

    needs = ("rosbags",)
    compressed = False
    plugin = "MCAP"

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        from rosbags import rosbag2
        from rosbags.typesys import Stores, get_typestore

        self._writer = rosbag2.Writer(path / "bag", version=9, storage_plugin=rosbag2.StoragePlugin[self.plugin])
        if self.compressed:
            self._writer.set_compression(rosbag2.CompressionMode.STORAGE, rosbag2.CompressionFormat.ZSTD)
        self._writer.open()
        if self.compressed:
            from backports import zstd

            self._writer.storage.compressor = lambda data: zstd.compress(data, LEVEL)
        store = get_typestore(Stores.ROS2_HUMBLE)
        self._connection = self._writer.add_connection("/frame", "std_msgs/msg/UInt8MultiArray", typestore=store)

    def write(self, index: int, picture: Picture) -> None:
        self._writer.write(self._connection, _START_NS + index, picture.tobytes())

    def close(self) -> None:
        self._writer.close()

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        from rosbags import rosbag2

        with rosbag2.Reader(path / "bag") as reader:
            for _, t_ns, data in reader.messages():
                yield t_ns - _START_NS, np.frombuffer(data, np.uint8).reshape(shape)


class RosbagsZstd(Rosbags):
    compressed = True


class RosbagsSqlite(Rosbags):
    plugin = "SQLITE3"


class Rerun(FrameWriter):
    """`rerun-sdk` into an .rrd file: its writer compresses with LZ4, in a thread of its own."""

    needs = ("rerun",)

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        import rerun

        self._rerun = rerun
        self._recording = rerun.RecordingStream("bench")
        self._recording.save(path / "f.rrd")

    def write(self, index: int, picture: Picture) -> None:
        self._recording.set_time("frame", sequence=index)
        self._recording.log("frame", self._rerun.Image(picture))

    def close(self) -> None:
        self._recording.flush(timeout_sec=60)
        self._recording.disconnect()

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        from rerun.chunk import RrdReader

        for chunk in RrdReader(path / "f.rrd").stream():
            batch = chunk.to_record_batch()
            if "frame" in batch.schema.names and "Image:buffer" in batch.schema.names:
                for index, buffer in zip(batch.column("frame"), batch.column("Image:buffer"), strict=True):
                    yield int(index.as_py()), np.asarray(buffer.values[0].values, np.uint8).reshape(shape)


class Lerobot(FrameWriter):
    """LeRobotDataset with pictures (PNG, lossless); an episode is saved when it is over."""

    needs = ("lerobot", "datasets")
    slow = True
    videos = False

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        features = {
            "observation.image": {"dtype": "video" if self.videos else "image", "shape": shape, "names": ["height", "width", "channel"]}
        }
        self._data = LeRobotDataset.create("bench/bench", FPS, features, root=path / "data", use_videos=self.videos)

    def write(self, index: int, picture: Picture) -> None:
        self._data.add_frame({"observation.image": picture, "task": "write"})
        if index % EPISODE == EPISODE - 1:
            self._data.save_episode()

    def close(self) -> None:
        if self._data.writer.episode_buffer and self._data.writer.episode_buffer["size"]:
            self._data.save_episode()
        self._data.finalize()

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        os.environ["HF_HUB_OFFLINE"] = "1"
        from lerobot.datasets.lerobot_dataset import LeRobotDataset

        data = LeRobotDataset("bench/bench", root=path / "data")
        for index in range(len(data)):
            picture = data[index]["observation.image"].permute(1, 2, 0).numpy()
            yield index, np.rint(picture * 255).astype(np.uint8)


class LerobotVideo(Lerobot):
    """LeRobotDataset as it is set when nothing is said: video, which keeps what looks the same."""

    videos = True
    lossy = True


WRITERS: dict[str, type[FrameWriter]] = {
    "bare file": Bare, "toddle raw": Toddle, "mcap none": Mcap, "rosbags mcap": Rosbags, "rosbags sqlite3": RosbagsSqlite,
    "toddle zstd": ToddleZstd, "mcap zstd": McapZstd, "rosbags mcap zstd": RosbagsZstd, "rerun": Rerun,
    "toddle delta-zstd": ToddleDelta, "lerobot png": Lerobot, "lerobot video": LerobotVideo,
    "toddle raw, each 30": ToddleBy30, "toddle raw, each one": ToddleEach,
}  # fmt: skip
COMMITS = "toddle raw, each 30", "toddle raw, each one"
"""Only for what a kill takes."""


def missing(name: str) -> str:
    """The packages that a writer needs and that are not installed."""
    return ", ".join(module for module in WRITERS[name].needs if importlib.util.find_spec(module) is None)


def found_again(name: str, path: Path, pictures: Picture) -> tuple[int, str]:
    """How many frames, from the first on, the format's own reader finds as they were written, and why it ended early."""
    count = 0
    rows: Iterable[tuple[int, Picture]] = WRITERS[name].read(path, pictures.shape[1:])
    try:
        for index, picture in rows:
            if index != count or not (WRITERS[name].lossy or np.array_equal(picture, pictures[index % len(pictures)])):
                return count, f"frame {index} is not what was written"
            count += 1
    except Exception as error:  # whatever a format's reader says of a file that was cut short
        return count, f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return count, ""
