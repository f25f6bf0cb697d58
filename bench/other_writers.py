"""Writers of frames of other formats. What one needs is imported when it is made."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from bench.frame_writer import EPISODE, FPS, LEVEL, START_NS, TOPIC, FrameWriter, Picture


class Mcap(FrameWriter):
    """The `mcap` package's writer, as it is set when nothing is said, but for the compression."""

    needs = ("mcap",)
    compressed = False

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        from mcap import writer as mcap

        if self.compressed:
            import zstandard

            self._level = patch.object(mcap, "zstandard", zstandard.ZstdCompressor(level=LEVEL))  # it asks for no level, and means 3
            self._level.start()
        kind = mcap.CompressionType.ZSTD if self.compressed else mcap.CompressionType.NONE
        self._writer = mcap.Writer(str(path / "f.mcap"), compression=kind)
        self._writer.start()
        schema = self._writer.register_schema("frame", "", b"")
        self._channel = self._writer.register_channel(TOPIC, "raw", schema)

    def write(self, index: int, picture: Picture) -> None:
        t_ns = START_NS + index
        self._writer.add_message(self._channel, t_ns, picture.tobytes(), t_ns, sequence=index)

    def close(self) -> None:
        self._writer.finish()
        if self.compressed:
            self._level.stop()

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        for message in _mcap_messages(path / "f.mcap"):
            yield message.sequence, np.frombuffer(message.data, np.uint8).reshape(shape)


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
        self._writer.write(self._connection, START_NS + index, picture.tobytes())

    def close(self) -> None:
        self._writer.close()

    @classmethod
    def read(cls, path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, Picture]]:
        from rosbags import rosbag2

        with rosbag2.Reader(path / "bag") as reader:
            for _, t_ns, data in reader.messages():
                yield t_ns - START_NS, np.frombuffer(data, np.uint8).reshape(shape)

    @classmethod
    def salvage(cls, path: Path) -> int | None:
        """With the `mcap` package: the file in the bag is one of its kind."""
        count = 0
        try:
            for _ in _mcap_messages(path / "bag" / "bag.mcap"):
                count += 1
        except Exception:  # where it was cut
            return count
        return count


class RosbagsZstd(Rosbags):
    compressed = True


class RosbagsSqlite(Rosbags):
    plugin = "SQLITE3"

    @classmethod
    def salvage(cls, path: Path) -> int | None:
        """With SQLite itself."""
        with closing(sqlite3.connect(path / "bag" / "bag.db3")) as file:
            return int(file.execute("SELECT count(*) FROM messages").fetchone()[0])


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

    @classmethod
    def salvage(cls, path: Path) -> int | None:
        """With Rerun's command, told to go on over errors."""
        (path / "merged").mkdir()
        argv = ["rrd", "merge", "--continue-on-error", "-o", str(path / "merged" / "f.rrd"), str(path / "f.rrd")]
        subprocess.run([sys.executable, "-m", "rerun_cli", *argv], check=False, capture_output=True)
        return sum(1 for _ in cls.read(path / "merged", (-1,)))


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

    @classmethod
    def salvage(cls, path: Path) -> int | None:
        """Pictures of the episode that was not saved yet lie about as files."""
        return sum(1 for _ in path.rglob("*.png"))


class LerobotVideo(Lerobot):
    """LeRobotDataset as it is set when nothing is said: video, which keeps what looks the same."""

    videos = True
    lossy = True


def _mcap_messages(file: Path) -> Iterator[Any]:
    """From the front on: a file without its end has no index."""
    from mcap.records import Chunk, Message
    from mcap.stream_reader import StreamReader, breakup_chunk

    with file.open("rb") as stream:
        for record in StreamReader(stream, emit_chunks=True).records:
            for inner in breakup_chunk(record) if isinstance(record, Chunk) else ():
                if isinstance(inner, Message):
                    yield inner
