"""Encodes large pictures in threads while the importer reads on, and writes all messages in the order in which they came."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Self

from protocol.codec import SCHEMA_VERSION, Header
from protocol.messages import Body, Message
from storage.arrays import ArrayCodec
from storage.header import read_header
from storage.record import encode_record
from storage.writer import SessionWriter

THREADS = 2
"""Compressing a frame takes longer than decoding it."""
LARGE_BYTES = 100_000
"""What is smaller is compressed sooner than handed to a thread."""
MOST_WAITING_BYTES = 16 << 20


class Behind:
    """Appends to `writer`, from one thread. A context manager: at its end all is written, or all before what was refused.

    The arrays of a message must stay as they are once it is given.
    """

    def __init__(self, writer: SessionWriter) -> None:
        self.writer = writer
        self._waiting: deque[tuple[Message, int, Future[bytes] | None]] = deque()
        self._waiting_bytes = 0
        self._threads = ThreadPoolExecutor(THREADS, "encode")
        self._codecs: SimpleQueue[ArrayCodec] = SimpleQueue()  # each serves one thread at a time
        for _ in range(THREADS):
            self._codecs.put(ArrayCodec(read_header(writer.path).codecs))

    def append(self, message: Message) -> None:
        """Raises what `SessionWriter.append` does, of this message or of one before."""
        size = sum(array.nbytes for array in message.arrays.values())
        if size < LARGE_BYTES and not self._waiting:
            self.writer.append(message)
            return
        self._waiting.append((message, size, self._threads.submit(self._encode, message) if size >= LARGE_BYTES else None))
        self._waiting_bytes += size
        while self._waiting_bytes > MOST_WAITING_BYTES:
            self._write()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            while self._waiting:
                self._write()
        finally:
            self._threads.shutdown(cancel_futures=True)

    def _encode(self, message: Message) -> bytes:
        codec = self._codecs.get()
        try:
            return encode_record(0, message, codec)  # it gets its number when it is written
        finally:
            self._codecs.put(codec)

    def _write(self) -> None:
        message, size, record = self._waiting[0]
        try:
            if record is None:
                self.writer.append(message)
            else:
                header: Header[Body] = Header(SCHEMA_VERSION, message.envelope, message.body)
                self.writer.append_copy(header, record.result())
        except BaseException:
            self._waiting.clear()  # nothing comes after a hole
            raise
        self._waiting.popleft()
        self._waiting_bytes -= size
