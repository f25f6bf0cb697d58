"""Batches read ahead of whoever uses them, by threads: decoding and copying hold no lock of Python's."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

THREADS = 2


def prefetched[P, B](read: Callable[[P, B], None], orders: Iterable[P], room: Sequence[B], threads: int = THREADS) -> Iterator[B]:
    """`read(order, batch)` for each order, in order, into the batches of `room` in turn; each batch when it is filled.

        for batch in prefetched(windows.read, orders, [windows.empty(16) for _ in range(3)]):

    A batch is the caller's until it asks for the next one; all others are being filled meanwhile. What `read` raises
    comes out here, at its turn.
    """
    if len(room) < 2:
        raise ValueError("reading ahead needs room for two batches at least")
    waiting: deque[tuple[Future[None], B]] = deque()
    free = deque(room)
    with ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as pool:
        try:
            for order in orders:
                batch = free.popleft()
                waiting.append((pool.submit(read, order, batch), batch))
                if not free:
                    done, batch = waiting.popleft()
                    done.result()
                    yield batch
                    free.append(batch)
            while waiting:
                done, batch = waiting.popleft()
                done.result()
                yield batch
        finally:
            for done, _ in waiting:
                done.cancel()
