"""Items read ahead by threads, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")

Tasks = SimpleQueue[tuple[Future[T], int] | None]
"""What is to be fetched, and where it is to be put; None for the end."""

_PATIENCE = 5.0
"""Seconds to wait for items that are being fetched when nobody wants them any more."""


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
    tasks: Tasks[T] = SimpleQueue()
    # As daemons they keep nobody from leaving, should a file system not answer them.
    pool = [Thread(target=_work, args=(fetch, tasks), daemon=True) for _ in range(max(1, threads))]
    for thread in pool:
        thread.name = f"read-ahead {thread.name}"
        thread.start()
    waiting: deque[Future[T]] = deque()
    rest = iter(indices)

    def submit(count: int) -> None:
        for index in islice(rest, count):
            waiting.append(Future())
            tasks.put((waiting[-1], index))

    try:
        submit(max(1, ahead))
        while waiting:
            item = waiting[0].result()
            waiting.popleft()
            submit(1)
            yield item
    finally:
        for future in waiting:
            future.cancel()
        for _ in pool:
            tasks.put(None)
        if not wait(waiting, _PATIENCE).not_done:
            for thread in pool:
                thread.join()


def _work(fetch: Callable[[int], T], tasks: Tasks[T]) -> None:
    while (task := tasks.get()) is not None:
        future, index = task
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(fetch(index))
        except BaseException as error:
            future.set_exception(error)
