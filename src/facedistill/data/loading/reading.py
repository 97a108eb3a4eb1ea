"""Reading many samples in order, with worker processes doing the work."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import TypeVar

from facedistill.core.errors import FacedistillError
from facedistill.data.loading.worker_processes import in_workers

T = TypeVar("T")

_CHUNK = 32


def read_in_order(
    fetch: Callable[[int], T], indices: Sequence[int], workers: int
) -> Generator[T | FacedistillError, None, None]:
    """Give `fetch(index)` for every index, in order.

    Args:
        fetch: What to do for an index; runs in a worker, so it must not change anything here.
        indices: Which.
        workers: Processes; 0 does everything in this one.

    Yields:
        The results; where `fetch` raised a FacedistillError, that error itself, so that it
        arrives as one line and not as a worker's traceback, and the caller decides. Who stops
        early closes it, which ends the workers at once.

    Raises:
        WorkerLost: If a worker was killed or crashed.
    """
    chunks = [list(indices[start : start + _CHUNK]) for start in range(0, len(indices), _CHUNK)]
    task = partial(_fetch_chunk, fetch)
    with closing(in_workers(task, chunks, min(workers, len(chunks)))) as done:
        for results in done:
            yield from results


def _fetch_chunk(fetch: Callable[[int], T], chunk: list[int]) -> list[T | FacedistillError]:
    return [_fetch(fetch, index) for index in chunk]


def _fetch(fetch: Callable[[int], T], index: int) -> T | FacedistillError:
    try:
        return fetch(index)
    except FacedistillError as error:
        return error
