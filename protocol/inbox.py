"""What has come and was not taken yet.

Control requests come first, then reliable messages in order, then the newest few of each latest topic in
the order of their arrival. Reliable messages are bounded by the publishers' windows; latest ones by the
topic's `keep`. Not locked: the bus holds its lock around every call.
"""

from collections import deque

import msgspec

from protocol.control import ControlRequest
from protocol.messages import Message


class Taken(msgspec.Struct, frozen=True):
    """A reliable message and where it stands in its publisher's order, for the acknowledgement."""

    peer: str
    index: int
    message: Message
    nbytes: int


class Inbox:
    """Fed by the sockets, emptied by the node."""

    def __init__(self) -> None:
        self._control: deque[ControlRequest] = deque()
        self._reliable: deque[Taken] = deque()
        self._latest: dict[str, deque[tuple[int, Message]]] = {}
        self._arrivals = 0
        self.reliable_bytes = 0

    def put_control(self, request: ControlRequest) -> None:
        self._control.append(request)

    def put_reliable(self, taken: Taken) -> None:
        self._reliable.append(taken)
        self.reliable_bytes += taken.nbytes

    def put_latest(self, message: Message, keep: int) -> int:
        """Leave a message; returns how many older ones of its topic it pushed out."""
        queue = self._latest.setdefault(message.topic, deque())
        queue.append((self._arrivals, message))
        self._arrivals += 1
        pushed_out = max(len(queue) - keep, 0)
        for _ in range(pushed_out):
            queue.popleft()
        return pushed_out

    def take(self) -> ControlRequest | Taken | Message | None:
        """The next thing to handle, or None."""
        if self._control:
            return self._control.popleft()
        if self._reliable:
            taken = self._reliable.popleft()
            self.reliable_bytes -= taken.nbytes
            return taken
        oldest = min((queue for queue in self._latest.values() if queue), key=lambda queue: queue[0][0], default=None)
        return None if oldest is None else oldest.popleft()[1]

    @property
    def reliable_empty(self) -> bool:
        return not self._reliable

    @property
    def control_waiting(self) -> int:
        return len(self._control)

    def left_requests(self) -> list[ControlRequest]:
        """Every control request that was never taken; empties that part."""
        requests = list(self._control)
        self._control.clear()
        return requests

    def left_over(self) -> list[Message]:
        """Every message that was never taken; empties that part."""
        messages = [taken.message for taken in self._reliable]
        messages += [message for queue in self._latest.values() for _, message in queue]
        self._reliable.clear()
        self._latest.clear()
        self.reliable_bytes = 0
        return messages
