"""One page for Prometheus, on loopback: `GET /metrics`, and nothing else.

    server = MetricsServer(render, Counter())    # render() -> bytes, called in the server's thread
    server.url                                   # http://127.0.0.1:<port>/metrics
    server.close()

One thread serves a few connections at once, each for a few seconds, and reads a few KiB of what it says. So
whatever a client sends, or fails to send, costs little and stops nobody; when too many come, the one that
has been here longest goes. Nothing runs between two scrapes.
"""

import logging
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable

from protocol.sockets import wake_pair

LOOPBACK = "127.0.0.1"
PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_CLIENTS = 8
MAX_REQUEST_BYTES = 8 * 1024
PATIENCE_S = 3.0
PAGE_LASTS_S = 0.1
"""However often it is asked for, a page is not made more often than this."""
CHUNK_BYTES = 64 * 1024
_END = b"\r\n\r\n"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Too Large",
    500: "Internal Server Error",
}


def judge(head: bytes) -> int:
    """The status that the first lines of a request deserve."""
    line = head.partition(b"\r\n")[0].split(b" ")
    if len(line) != 3 or not line[2].startswith(b"HTTP/1.") or not line[0].isalpha():
        return 400
    if line[0] not in (b"GET", b"HEAD"):
        return 405
    return 200 if line[1].partition(b"?")[0] == PATH.encode() else 404


def response(status: int, page: bytes = b"", *, body: bool = True) -> bytes:
    """A whole answer; without a page its body is the status in words."""
    page = page if status == 200 else f"{status} {_REASONS[status]}: this is GET {PATH}\n".encode()
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(page)}", "Connection: close"]
    if status == 405:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join(lines).encode() + _END + (page if body else b"")


class _Client:
    """One connection: what it said so far, what it is still to get, and when it must be gone."""

    def __init__(self, connection: socket.socket, deadline_s: float) -> None:
        self.connection = connection
        self.deadline_s = deadline_s
        self.said = bytearray()
        self.answer = memoryview(b"")
        self.answered = False


class MetricsServer:
    """Bound and running when made; OSError when there is no port to be had."""

    def __init__(self, render: Callable[[], bytes], answers: Counter[str]) -> None:
        """`answers` counts how requests ended: by status, and `late` for those that were cut off."""
        self.answers = answers
        self._render = render
        self._page, self._made_s = b"", -PAGE_LASTS_S
        self._complained = False
        self._stopping = threading.Event()
        self._clients: list[_Client] = []
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self._listener.setblocking(False)
        self.url = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}{PATH}"
        self._wake_out, self._wake_in = wake_pair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No thread and no socket is left when this returns. Idempotent."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake_out.send(b"w")  # the other end is open until the thread is gone
        self._thread.join()
        self._wake_in.close()
        self._wake_out.close()

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            for key, _ in self._selector.select(self._wait_s()):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._clients:  # not sent away meanwhile
                    self._turn(key.data)
            now_s = time.monotonic()
            for client in [one for one in self._clients if one.deadline_s <= now_s]:
                self._cut(client)
        for client in list(self._clients):
            self._drop(client)
        self._selector.close()
        self._listener.close()

    def _wait_s(self) -> float | None:
        return max(min(client.deadline_s for client in self._clients) - time.monotonic(), 0.0) if self._clients else None

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # gone again; or no file descriptor is left, which is not ours to mend
            self._stopping.wait(0.05)
            return
        connection.setblocking(False)
        if len(self._clients) >= MAX_CLIENTS:
            self._cut(self._clients[0])
        client = _Client(connection, time.monotonic() + PATIENCE_S)
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _turn(self, client: _Client) -> None:
        try:
            if client.answer:
                self._send(client)
            else:
                self._receive(client)
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)

    def _receive(self, client: _Client) -> None:
        data = client.connection.recv(CHUNK_BYTES)
        if not data:
            self._drop(client)
        elif not client.answered:  # what follows a request is read, so that the answer arrives, and forgotten
            client.said += data[: MAX_REQUEST_BYTES + 1 - len(client.said)]
            if _END in client.said:
                self._answer(client, judge(bytes(client.said)))
            elif len(client.said) > MAX_REQUEST_BYTES:
                self._answer(client, 431)

    def _answer(self, client: _Client, status: int) -> None:
        page = b""
        if status == 200:
            try:
                page = self._newest()
            except Exception as error:  # the page of a node must not end the node
                status = 500
                self._complain(error)
        self.answers[str(status)] += 1
        client.answered = True
        client.answer = memoryview(response(status, page, body=not client.said.startswith(b"HEAD ")))
        client.said.clear()
        self._send(client)

    def _newest(self) -> bytes:
        now_s = time.monotonic()
        if now_s - self._made_s >= PAGE_LASTS_S:
            self._page, self._made_s = self._render(), now_s
        return self._page

    def _send(self, client: _Client) -> None:
        """As much as the client takes; then it hangs up, or runs out of time."""
        self._selector.modify(client.connection, selectors.EVENT_WRITE, client)
        client.answer = client.answer[client.connection.send(client.answer) :]
        if not client.answer:
            client.connection.shutdown(socket.SHUT_WR)
            self._selector.modify(client.connection, selectors.EVENT_READ, client)

    def _cut(self, client: _Client) -> None:
        if not client.answered or client.answer:
            self.answers["late"] += 1
        self._drop(client)

    def _drop(self, client: _Client) -> None:
        self._selector.unregister(client.connection)
        client.connection.close()
        self._clients.remove(client)

    def _complain(self, error: Exception) -> None:
        """Once: a scraper comes again and again."""
        if not self._complained:
            self._complained = True
            logging.getLogger(__name__).error("%s cannot be shown: %s: %s", PATH, type(error).__name__, error)
