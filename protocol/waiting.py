"""Waiting on file descriptors, with a timeout finer than a millisecond."""

import select
import threading
import time


class Waiter:
    """Waits until a descriptor can be read. Threads may wait at the same time: each has a poll object of its own."""

    def __init__(self) -> None:
        self._fds: tuple[int, ...] = ()
        self._local = threading.local()

    def watch(self, fds: tuple[int, ...]) -> None:
        """The descriptors to wait on from now on."""
        self._fds = fds

    def wait(self, timeout_s: float) -> list[int]:
        """Until one is readable, at most `timeout_s`; those that are."""
        if not hasattr(select, "poll"):  # Windows
            return select.select(self._fds, (), (), timeout_s)[0]
        fds, poll = getattr(self._local, "made", ((), None))
        if poll is None or fds is not self._fds:
            fds, poll = self._fds, select.poll()
            for fd in fds:
                poll.register(fd, select.POLLIN)
            self._local.made = fds, poll
        whole_ms = int(timeout_s * 1000)
        ready = poll.poll(whole_ms)
        if not ready and (rest_s := timeout_s - whole_ms / 1000) > 0:
            time.sleep(rest_s)
        return [fd for fd, _ in ready]
