"""Encodes and writes messages in threads, in the order in which they came, while the importer reads on."""

from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from threading import Semaphore
from typing import Self

from protocol.codec import SCHEMA_VERSION, Header
from protocol.messages import Body, Message
from storage.arrays import ArrayCodec
from storage.header import read_header
from storage.record import encode_record
from storage.writer import SessionWriter

ENCODERS = 2
"""Compressing a frame takes longer than decoding it."""
MOST_WAITING = 16
"""Messages that may wait: they hold their pictures."""


class Behind:
    """Appends to `writer`, which is its own while it is open. A context manager; at its end everything is written.

    The arrays of a message must stay as they are once it is given.
    """

    def __init__(self, writer: SessionWriter) -> None:
        self.writer = writer
        self._room = Semaphore(MOST_WAITING)
        self._failed: Exception | None = None
        self._encoding = ThreadPoolExecutor(ENCODERS, "encode")
        self._writing = ThreadPoolExecutor(1, "write")
        self._codecs: SimpleQueue[ArrayCodec] = SimpleQueue()  # each serves one thread at a time
        for _ in range(ENCODERS):
            self._codecs.put(ArrayCodec(read_header(writer.path).codecs))

    def append(self, message: Message) -> None:
        """Raises what `SessionWriter.append` does, of this message or of one before."""
        self._room.acquire()
        if self._failed is not None:
            raise self._failed
        self._writing.submit(self._write, message, self._encoding.submit(self._encode, message) if message.arrays else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._encoding.shutdown()
        finally:
            self._writing.shutdown()
        if self._failed is not None and kind is None:
            raise self._failed

    def _encode(self, message: Message) -> bytes:
        codec = self._codecs.get()
        try:
            return encode_record(0, message, codec)  # it gets its number when it is written
        finally:
            self._codecs.put(codec)

    def _write(self, message: Message, record: Future[bytes] | None) -> None:
        try:
            if self._failed is not None:
                return
            if record is None:
                self.writer.append(message)
            else:
                header: Header[Body] = Header(SCHEMA_VERSION, message.envelope, message.body)
                self.writer.append_copy(header, record.result())
        except Exception as error:  # for whoever appends next, or ends
            self._failed = error
        finally:
            self._room.release()
