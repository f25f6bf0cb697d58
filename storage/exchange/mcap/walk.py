"""Reads an MCAP from its first byte to its last, checks every checksum, and says where what is wrong.

One record is in memory at a time. A chunk that is damaged is left out and the next one read; where the records
themselves no longer add up, reading ends.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import zstandard

from storage.errors import ImportProblem, MissingPackage
from storage.exchange.common import LeftOut, Skipped, Tell, quiet

if TYPE_CHECKING:
    from mcap.records import Channel, Chunk, Schema

MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK = 1 << 30
"""Bytes of a chunk, unpacked: more is taken for damage."""
PIECE = 1 << 20
HEAD = struct.Struct("<BQ")
MESSAGE = struct.Struct("<HIQQ")


class Found(NamedTuple):
    """A message and where it stands; `nth` counts the messages of its chunk."""

    offset: int
    nth: int
    schema: "Schema | None"
    channel: "Channel"
    sequence: int
    log_ns: int
    publish_ns: int
    data: memoryview


def need_mcap() -> None:
    """Raise MissingPackage where there is no mcap package."""
    from importlib.util import find_spec

    if find_spec("mcap") is None:
        raise MissingPackage("MCAP needs the mcap package: python -m pip install -c constraints.txt -e '.[export]'")


class McapFile:
    """One reading of the file at `path`; faults go to `faults`, what is no fault and worth saying to `remarks`.

    Raises ImportProblem when it is not an MCAP at all.
    """

    def __init__(self, path: Path, faults: LeftOut, *, tell: Tell = quiet, hashed: bool = False) -> None:
        need_mcap()
        self.path = path
        self.faults = faults
        self.remarks: list[str] = []
        self.metadata: dict[str, dict[str, str]] = {}
        self.channels: dict[int, Channel] = {}
        self.schemas: dict[int, Schema] = {}
        self.messages_seen = 0
        self.size = path.stat().st_size if path.is_file() else 0
        self._tell = tell
        self._sha256 = hashlib.sha256() if hashed else None
        self._crc = 0
        self._expected: int | None = None
        self._damaged = False
        self._asked_summary = False
        self._unknown: set[int] = set()

    @property
    def sha256(self) -> str:
        """Of the bytes read so far."""
        return self._sha256.hexdigest() if self._sha256 else ""

    def fault(self, found: Found, why: str) -> None:
        """Something is wrong with this message."""
        where = f"{self.path}: byte {found.offset}, message {found.nth}"
        self.faults.add(Skipped(where=where, why=f"{found.channel.topic}{why}"))

    def messages(self) -> Iterator[Found]:
        """All sound messages in the order of the file."""
        from mcap.exceptions import McapError

        try:
            file = self.path.open("rb")
        except OSError as error:
            raise ImportProblem(f"{self.path} cannot be read: {error.strerror}") from None
        with file:
            if self._read(file, len(MAGIC)) != MAGIC:
                raise ImportProblem(f"{self.path} is not an MCAP file: it does not begin as one; give a file that ends in .mcap")
            for offset, opcode, content in self._records(file):
                try:
                    yield from self._record(offset, opcode, content)
                except (McapError, ValueError, struct.error, EOFError) as error:
                    self._fault(offset, f"a {_name(opcode)} record that does not decode: {error or type(error).__name__}")
            while self._read(file, PIECE):  # for the hash, where reading ended early
                pass
        self._compare()

    def _records(self, file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
        """Place, kind and content of each record; content only of kinds that are looked into."""
        while True:
            offset = file.tell()
            before = self._crc
            head = self._read(file, HEAD.size)
            if len(head) < HEAD.size:
                self._fault(offset, f"the file ends without a footer: it was cut off, or its writer died; {self._so_far()}")
                return
            opcode, length = HEAD.unpack(head)
            if not opcode:
                self._fault(offset, f"no record begins here: the rest of the file is no MCAP; {self._so_far()}")
                return
            if length > self.size - offset - HEAD.size:
                self._fault(offset, f"the file ends inside a {_name(opcode)} record of {length} bytes; {self._so_far()}")
                return
            content = self._read(file, length) if _name(opcode) in _READ else self._skip(file, length)
            self._tell(file.tell(), self.size)
            if _name(opcode) == "data end":
                self._checksum(offset, before, int.from_bytes(content[:4], "little"), "data section")
                self._crc = 0
            yield offset, opcode, content
            if _name(opcode) == "footer":
                summary = zlib.crc32(head + content[:16], before)
                self._checksum(offset, summary, int.from_bytes(content[16:20], "little"), "summary")
                if self._read(file, len(MAGIC)) != MAGIC:
                    self._fault(file.tell(), "the file does not end as an MCAP does")
                if not any(content[:8]):
                    self.remarks.append("it has no summary: nothing says how many messages there should be")
                return

    def _record(self, offset: int, opcode: int, content: bytes) -> Iterator[Found]:
        from mcap.data_stream import ReadDataStream
        from mcap.records import Channel, Chunk, Metadata, Schema, Statistics

        name = _name(opcode)
        stream = ReadDataStream(BytesIO(content))
        if name == "message":
            yield from self._message(offset, 0, memoryview(content))
        elif name == "chunk":
            yield from self._chunk(offset, Chunk.read(stream))
        elif name == "schema":
            schema = Schema.read(stream)
            self.schemas[schema.id] = schema
        elif name == "channel":
            channel = Channel.read(stream)
            self.channels[channel.id] = channel
        elif name == "metadata":
            metadata = Metadata.read(stream)
            self.metadata[metadata.name] = metadata.metadata
        elif name == "statistics":
            self._expected = Statistics.read(stream).message_count

    def _chunk(self, offset: int, chunk: "Chunk") -> Iterator[Found]:
        try:
            data = _unpacked(chunk)
        except ValueError as error:
            times = f"times {chunk.message_start_time} to {chunk.message_end_time} ns"
            self._fault(offset, f"a chunk whose messages are lost ({times}): {error}")
            return
        at, nth = 0, 0
        while at < len(data):
            if len(data) - at < HEAD.size:
                self._fault(offset, "the chunk ends inside a record")
                return
            opcode, length = HEAD.unpack_from(data, at)
            at += HEAD.size
            if length > len(data) - at:
                self._fault(offset, f"the chunk ends inside a {_name(opcode)} record of {length} bytes")
                return
            content = data[at : at + length]
            at += length
            if _name(opcode) == "message":
                yield from self._message(offset, nth, content)
                nth += 1
            elif _name(opcode) in ("schema", "channel"):
                yield from self._record(offset, opcode, bytes(content))

    def _message(self, offset: int, nth: int, content: memoryview) -> Iterator[Found]:
        number, sequence, log_ns, publish_ns = MESSAGE.unpack_from(content)
        self.messages_seen += 1
        channel = self.channels.get(number) or self._from_summary(number)
        if channel is None or (channel.schema_id and channel.schema_id not in self.schemas):
            if number not in self._unknown:
                self._unknown.add(number)
                self._fault(offset, f"messages of channel {number}, and nothing says what that is")
            return
        yield Found(offset, nth, self.schemas.get(channel.schema_id), channel, sequence, log_ns, publish_ns, content[MESSAGE.size :])

    def _from_summary(self, number: int) -> "Channel | None":
        """A channel whose own record was in a damaged chunk: the summary says it again."""
        from mcap.reader import make_reader

        if not self._asked_summary:
            self._asked_summary = True
            try:
                with self.path.open("rb") as file:
                    summary = make_reader(file).get_summary()
            except Exception:  # a damaged summary, in whichever way: then nothing is known
                summary = None
            if summary is not None:
                self.schemas = {**summary.schemas, **self.schemas}
                self.channels = {**summary.channels, **self.channels}
        return self.channels.get(number)

    def _compare(self) -> None:
        if self._expected is None or self._expected == self.messages_seen:
            return
        said = f"its summary counts {self._expected} messages, {self.messages_seen} could be read"
        if self._damaged:
            self.remarks.append(said)
        else:
            self.faults.add(Skipped(where=str(self.path), why=said))

    def _checksum(self, offset: int, found: int, expected: int, what: str) -> None:
        """0 says that nobody wrote one. Damage inside chunks is told already."""
        if expected not in (0, found) and not self._damaged:
            self._fault(offset, f"the {what} is not what was written (CRC32)")

    def _fault(self, offset: int, why: str) -> None:
        self._damaged = True
        self.faults.add(Skipped(where=f"{self.path}: byte {offset}", why=why))

    def _so_far(self) -> str:
        return f"{self.messages_seen} messages before it are there"

    def _read(self, file: IO[bytes], length: int) -> bytes:
        data = file.read(length)
        self._crc = zlib.crc32(data, self._crc)
        if self._sha256 is not None:
            self._sha256.update(data)
        return data

    def _skip(self, file: IO[bytes], length: int) -> bytes:
        while length:
            length -= len(self._read(file, min(length, PIECE)))
        return b""


_NAMES = {
    1: "header", 2: "footer", 3: "schema", 4: "channel", 5: "message", 6: "chunk", 7: "message index", 8: "chunk index", 9: "attachment",
    10: "attachment index", 11: "statistics", 12: "metadata", 13: "metadata index", 14: "summary offset", 15: "data end",
}  # fmt: skip
_READ = {"footer", "schema", "channel", "message", "chunk", "statistics", "metadata", "data end"}


def _name(opcode: int) -> str:
    return _NAMES.get(opcode, f"unknown ({opcode})")


def _unpacked(chunk: "Chunk") -> memoryview:
    """The records of a chunk. Raises ValueError when they are not what was written."""
    size = chunk.uncompressed_size
    if size > MAX_CHUNK:
        raise ValueError(f"it says that it holds {size} bytes")
    data = chunk.data
    try:
        if chunk.compression == "zstd":
            if zstandard.frame_content_size(data) not in (-1, size):
                raise ValueError("its zstd data has another size than it says")
            data = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
        elif chunk.compression == "lz4":
            import lz4.frame

            data = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=size)
        elif chunk.compression:
            raise ValueError(f"it is compressed with {chunk.compression[:20]!r}; zstd, lz4 and none can be read")
    except (zstandard.ZstdError, RuntimeError) as error:
        raise ValueError(str(error)) from None
    if len(data) != size:
        raise ValueError(f"it has {len(data)} bytes, expected {size}")
    if chunk.uncompressed_crc not in (0, zlib.crc32(data)):
        raise ValueError("its bytes are not the ones that were written (CRC32)")
    return memoryview(data)
