"""Work on a thread of its own, one piece at a time, so that the node goes on choosing actions."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class Background[Result]:
    """`begin` when it is not busy, `take` what came of it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "background")
        self._running: Future[Result] | None = None

    @property
    def busy(self) -> bool:
        """Whether something was begun and has not been taken."""
        return self._running is not None

    def begin(self, work: Callable[[], Result]) -> None:
        assert self._running is None
        self._running = self._pool.submit(work)

    def take(self) -> Result | None:
        """What the work gave, once; None while it goes on. Raises what it raised."""
        if self._running is None or not self._running.done():
            return None
        done, self._running = self._running, None
        return done.result()

    def close(self) -> None:
        """When the work is over."""
        self._pool.shutdown()
