"""A session as an MCAP file that Foxglove shows and `ours` reads back to the bit.

Every message is JSON with a schema, on its own topic. Its images stand before it, each on the topic
`<topic>/<array>`, as foxglove.RawImage (or CompressedImage): several in one array are one picture, below each other.
All other arrays are in the JSON, in base64.
"""

import os
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from protocol.messages import Array, Envelope, Gap, Message, Robot, Tail
from protocol.topics import topic_of
from storage.exchange.common import ExportReport, Tell, appearing, quiet
from storage.exchange.mcap import protobuf
from storage.exchange.mcap.pictures import COMPRESSED, RAW, encode_picture
from storage.exchange.mcap.schemas import schema_of, to_json
from storage.exchange.mcap.walk import need_mcap
from storage.info import SessionInfo
from storage.record import Event
from storage.views import open_session

SESSION = "toddle.session"
"""The metadata record that says what session this was; its presence makes a file ours."""
CHUNK_BYTES = 4 << 20
MAX_TIME = 2**64 - 1


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What session.json and the books say beside the messages: each a string of JSON in the metadata record."""

    name: str
    created: str
    toddle: str
    robot: Robot | None
    codecs: dict[str, str]
    source: dict[str, Any]
    notes: str
    tags: list[str]
    derived_from: list[str]
    gaps: list[Gap]
    tails: list[Tail]


def export_mcap(path: Path, target: Path, *, images: str = "raw", tell: Tell = quiet) -> ExportReport:
    """Write the session at `path` to the file `target`, which must not exist; `images` is raw, png (both lossless) or jpeg.

    `tell` hears of every event. Raises ExportProblem and what the session's reader raises; nothing is left at `target` then.
    """
    need_mcap()
    with appearing(target) as part, open_session(path) as reader, part.open("wb") as stream:
        info, total = reader.info(), len(reader)
        export = _Export(stream, info, images)
        for event in reader.numbered():
            if event.number >= total:
                break  # written since
            export.add(event)
            tell(event.number + 1, total)
        export.finish()
        stream.flush()
        os.fsync(stream.fileno())
    notes = [f"{export.messages} messages on {len(export.channels)} topics, {target.stat().st_size} bytes"]
    if images == "jpeg":
        notes.append("its images are JPEG: they come back as they look, not as they were")
    return ExportReport(path=str(target), episodes=len(info.episodes), frames=info.frames, skipped=[], notes=notes)


class _Export:
    """Writes events; a channel begins with its first message."""

    def __init__(self, stream: IO[bytes], info: SessionInfo, images: str) -> None:
        from mcap.writer import Writer

        self.channels: dict[str, int] = {}
        self.messages = 0
        self._robot = info.robot
        self._images = images
        self._schemas: dict[str, int] = {}
        self._writer = Writer(stream, chunk_size=CHUNK_BYTES, enable_data_crcs=True)
        self._writer.start(library=f"toddle {info.toddle}")
        about = {name: msgspec.json.encode(getattr(info, name)).decode() for name in About.__struct_fields__}
        self._writer.add_metadata(SESSION, {**about, "images": images})

    def add(self, event: Event) -> None:
        message = event.message
        arrays = [self._array(message, name, array) for name, array in message.arrays.items()]
        plain = to_json(message, arrays, event.left_out, self._robot)
        channel = self.channels.get(message.topic)
        if channel is None:
            schema = schema_of(plain, topic_of(message.topic).body)
            name = "foxglove.Log" if message.kind == "log" else "toddle." + message.topic.replace("/", ".")
            number = self._writer.register_schema(name, "jsonschema", schema)
            channel = self._channel(message.topic, "json", number, {"toddle": message.kind})
        self._add(channel, message.envelope, msgspec.json.encode(plain))

    def finish(self) -> None:
        self._writer.finish()  # type: ignore[no-untyped-call]

    def _array(self, message: Message, name: str, array: Array) -> dict[str, Any]:
        """Where the array is: on a topic of its own, or here."""
        described = {"name": name, "dtype": str(array.dtype), "shape": list(array.shape)}
        picture = picture_of(name, array)
        if picture is None:
            return {**described, "data": np.ascontiguousarray(array).tobytes()}
        topic = f"{message.topic}/{name}"
        form = self._images if name.startswith("image/") else "raw"
        channel = self.channels.get(topic)
        if channel is None:
            schema = RAW if form == "raw" else COMPRESSED
            if schema not in self._schemas:
                self._schemas[schema] = self._writer.register_schema(schema, "protobuf", protobuf.descriptor(schema))
            channel = self._channel(topic, "protobuf", self._schemas[schema], {"toddle": message.kind, "array_of": message.topic})
        stamp_ns = max(message.envelope.t_ns, 0)
        self._add(channel, message.envelope, encode_picture(picture, form, stamp_ns, name.partition("/")[2]))
        return {**described, "topic": topic}

    def _channel(self, topic: str, encoding: str, schema: int, metadata: dict[str, str]) -> int:
        self.channels[topic] = self._writer.register_channel(topic, encoding, schema, metadata)
        return self.channels[topic]

    def _add(self, channel: int, envelope: Envelope, data: bytes) -> None:
        t_ns = min(max(envelope.t_ns, 0), MAX_TIME)
        self._writer.add_message(channel, t_ns, data, t_ns, envelope.seq & 0xFFFFFFFF)
        self.messages += 1


def picture_of(name: str, array: Array) -> Array | None:
    """The array as one image, several below each other; None when it is none."""
    if not array.size:
        return None
    if array.dtype == np.uint8 and array.ndim >= 3 and array.shape[-1] == 3:
        return array.reshape(-1, *array.shape[-2:])
    depth = name.startswith("depth/") and array.ndim == 2 and array.dtype in (np.uint16, np.float32)
    return array if depth else None
