"""Where the bus thread leaves messages for the node's thread.

Control requests come first, then reliable messages in order, then the newest few of each latest topic in
the order of their arrival. Reliable messages are bounded by the publishers' windows; latest ones by the
topic's `keep`.
"""

import threading
from collections import deque
from dataclasses import dataclass

from protocol.control import ControlRequest
from protocol.errors import BusClosed
from protocol.messages import Message


@dataclass(frozen=True)
class Taken:
    """A reliable message and where it stands in its publisher's order, for the acknowledgement."""

    peer: str
    index: int
    message: Message


class Inbox:
    """Thread-safe: one thread puts, one takes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._control: deque[ControlRequest] = deque()
        self._reliable: deque[Taken] = deque()
        self._latest: dict[str, deque[tuple[int, Message]]] = {}
        self._arrivals = 0
        self._error: BaseException | None = None
        self._closed = False
        self.reliable_bytes = 0

    def put_control(self, request: ControlRequest) -> None:
        with self._changed:
            self._control.append(request)
            self._changed.notify()

    def put_reliable(self, taken: Taken) -> None:
        with self._changed:
            self._reliable.append(taken)
            self.reliable_bytes += taken.message.nbytes
            self._changed.notify()

    def put_latest(self, message: Message, keep: int) -> int:
        """Leave a message; returns how many older ones of its topic it pushed out."""
        with self._changed:
            queue = self._latest.setdefault(message.topic, deque())
            queue.append((self._arrivals, message))
            self._arrivals += 1
            pushed_out = max(len(queue) - keep, 0)
            for _ in range(pushed_out):
                queue.popleft()
            self._changed.notify()
            return pushed_out

    def take(self, timeout_s: float) -> ControlRequest | Taken | Message | None:
        """The next thing to handle, or None when nothing came in time; BusClosed once it is closed."""
        with self._changed:
            self._changed.wait_for(self._ready, timeout_s)
            if self._error is not None:
                raise self._error
            if self._control:
                return self._control.popleft()
            if self._reliable:
                taken = self._reliable.popleft()
                self.reliable_bytes -= taken.message.nbytes
                return taken
            oldest = min((q for q in self._latest.values() if q), key=lambda q: q[0][0], default=None)
            if oldest is not None:
                return oldest.popleft()[1]
            if self._closed:
                raise BusClosed("the bus is closed")
            return None

    def reliable_empty(self) -> bool:
        with self._changed:
            return not self._reliable

    def control_waiting(self) -> int:
        with self._changed:
            return len(self._control)

    def left_requests(self) -> list[ControlRequest]:
        """Every control request that was never taken; empties that part."""
        with self._changed:
            requests = list(self._control)
            self._control.clear()
            return requests

    def left_over(self) -> list[Message]:
        """Every message that was never taken; empties that part."""
        with self._changed:
            messages = [taken.message for taken in self._reliable]
            messages += [message for queue in self._latest.values() for _, message in queue]
            self._reliable.clear()
            self._latest.clear()
            self.reliable_bytes = 0
            return messages

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def fail(self, error: BaseException) -> None:
        """Make the taker raise `error`: the bus thread has died of it."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _ready(self) -> bool:
        return bool(self._control or self._reliable or self._closed or self._error or any(self._latest.values()))
