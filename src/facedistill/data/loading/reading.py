"""Reading many samples in order, with worker processes doing the work."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing import parent_process
from threading import Thread
from typing import Any, Generic, TypeVar

import cv2
import torch
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset

from facedistill.core.errors import FacedistillError

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
        early should close it: left to the garbage collector, workers take seconds to end.
    """
    chunks = [list(indices[start : start + _CHUNK]) for start in range(0, len(indices), _CHUNK)]
    chunked = _Chunks(fetch, chunks)
    workers = min(workers, len(chunks))
    for results in start_loader(chunked, workers, batch_size=None, collate_fn=_unchanged):
        yield from results


def start_loader(dataset: Dataset[Any], workers: int, **options: Any) -> Iterator[Any]:
    """Start a torch DataLoader and return its iterator.

    The loader draws its workers' base seed from a generator of its own: from torch's default one,
    the random numbers of a resumed run would be other ones than those of an unbroken run.

    Args:
        dataset: What the workers index.
        workers: Processes; as many as the user asks for, without torch's warning that the machine
            has fewer cores.
        **options: Further arguments of `DataLoader`.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        loader = DataLoader(
            dataset,
            num_workers=workers,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),
            **options,
        )
        return iter(loader)


def _start_worker(_: int) -> None:
    """Start a worker: one thread each, or those of OpenCV and of BLAS fight over the cores."""
    cv2.setNumThreads(0)
    threadpool_limits(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Leave when the parent was killed: torch's workers would wait for a reader for ever."""
    parent = parent_process()
    while parent is not None and os.getppid() == parent.pid:
        time.sleep(1)
    os._exit(1)


def _unchanged(results: list[T]) -> list[T]:
    """Arrays stay arrays: a tensor from a worker would cost an open file each."""
    return results


class _Chunks(Dataset[list[T | FacedistillError]], Generic[T]):
    def __init__(self, fetch: Callable[[int], T], chunks: list[list[int]]) -> None:
        self.fetch, self.chunks = fetch, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, chunk: int) -> list[T | FacedistillError]:
        return [self._one(index) for index in self.chunks[chunk]]

    def _one(self, index: int) -> T | FacedistillError:
        try:
            return self.fetch(index)
        except FacedistillError as error:
            return error
