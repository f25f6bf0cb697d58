"""What the bus thread is to send next: control replies, and of each topic the newest few.

The latest lane's messages overtake each other here already, so that a publisher faster than its bus thread
neither fills the memory nor sends what is old. Not locked: the bus holds its lock around every call.
"""

from collections import deque

from protocol.codec import Buffer


class Outbox:
    """Messages come out in the order in which they were put, per topic at most `keep` of them."""

    def __init__(self) -> None:
        self._latest: dict[str, deque[tuple[int, list[Buffer]]]] = {}
        self._replies: deque[list[Buffer]] = deque()
        self._count = 0

    def put(self, topic: str, parts: list[Buffer], keep: int) -> None:
        self._latest.setdefault(topic, deque(maxlen=keep)).append((self._count, parts))
        self._count += 1

    def put_reply(self, parts: list[Buffer]) -> None:
        self._replies.append(parts)

    def take(self) -> list[tuple[str, list[Buffer]]]:
        """Every message that waits, as (topic, parts)."""
        waiting = [(number, topic, parts) for topic, queue in self._latest.items() for number, parts in queue]
        self._latest.clear()
        return [(topic, parts) for _, topic, parts in sorted(waiting, key=lambda item: item[0])]

    def take_replies(self) -> list[list[Buffer]]:
        replies = list(self._replies)
        self._replies.clear()
        return replies

    def __bool__(self) -> bool:
        return bool(self._latest or self._replies)
