"""A tcp relay in user space that can be told to misbehave as networks do.

`pass`: bytes go both ways. `stall`: connections are accepted, bytes are held and go on later. `cut`: all
connections are closed, new ones too. `half_open`: what the server says is thrown away, silently; a
connection that this has happened to never passes anything back again, as its stream has a hole.
"""

import socket
import threading
from contextlib import suppress
from typing import Literal

Mode = Literal["pass", "stall", "cut", "half_open"]
CHUNK = 1 << 16


class _Connection:
    """One client's connection, and ours to the server."""

    def __init__(self, relay: "Relay", client: socket.socket) -> None:
        self._relay = relay
        self._client = client
        self._server = socket.create_connection(("127.0.0.1", relay.target))
        self._deaf = False
        self.threads = [
            threading.Thread(target=self._pump, args=(self._client, self._server, False), daemon=True),
            threading.Thread(target=self._pump, args=(self._server, self._client, True), daemon=True),
        ]
        for thread in self.threads:
            thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, back: bool) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                mode = self._relay.not_stalled()
                self._deaf = self._deaf or (back and mode == "half_open")
                if back and self._deaf:
                    self._relay.dropped(len(data))
                else:
                    sink.sendall(data)
        self.close()

    def close(self) -> None:
        for end in (self._client, self._server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Relay:
    """Listens on a free port of loopback and connects to `target` for everybody who comes."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.cuts = self.held = self.dropped_bytes = self.connections_made = 0
        self._mode: Mode = "pass"
        self._changed = threading.Condition()
        self._connections: list[_Connection] = []
        self._ended = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def set(self, mode: Mode) -> None:
        with self._changed:
            self._mode = mode
            self._changed.notify_all()
            if mode == "cut":
                self._cut()

    def not_stalled(self) -> Mode:
        """The mode, once bytes may move."""
        with self._changed:
            self.held += self._mode == "stall"
            self._changed.wait_for(lambda: self._mode != "stall" or self._ended)
            return self._mode

    def dropped(self, count: int) -> None:
        """So many more bytes were thrown away."""
        with self._changed:
            self.dropped_bytes += count

    def _cut(self) -> None:
        for connection in self._connections:
            connection.close()
        self.cuts += len(self._connections)
        self._connections.clear()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with self._changed:
                    if self._mode == "cut" or self._ended:
                        client.close()
                        continue
                    try:
                        self._connections.append(_Connection(self, client))
                        self.connections_made += 1
                    except OSError:  # nobody listens there
                        client.close()

    def close(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
            threads = [thread for connection in self._connections for thread in connection.threads]
            self._cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in [*threads, self._acceptor]:
            thread.join(10)
