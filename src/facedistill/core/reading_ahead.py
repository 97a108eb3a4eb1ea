"""Items read ahead by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def read_ahead(
    fetch: Callable[[int], T], indices: Iterable[int], threads: int, ahead: int
) -> Generator[T, None, None]:
    """Give `fetch(index)` for every index, in order, while threads fetch the next ones.

    Decoding and scaling leave the interpreter's lock alone, so threads suffice where little else
    is done to an item; `data.loading.reading.read_in_order` has worker processes.

    Args:
        fetch: What to do for an index; its errors pass through at the item's place.
        indices: Which.
        threads: How many items are fetched at a time; 0 takes one thread too.
        ahead: How many items may wait to be taken.

    Yields:
        The results. Close it to stop early.
    """
    pool = ThreadPoolExecutor(max_workers=max(1, threads), thread_name_prefix="read-ahead")
    waiting: deque[Future[T]] = deque()
    rest = iter(indices)
    try:
        waiting.extend(pool.submit(fetch, index) for index in islice(rest, max(1, ahead)))
        while waiting:
            item = waiting.popleft()
            waiting.extend(pool.submit(fetch, index) for index in islice(rest, 1))
            yield item.result()
    finally:
        pool.shutdown(cancel_futures=True)
