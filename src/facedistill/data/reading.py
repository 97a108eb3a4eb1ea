"""Reading many samples in order, with worker processes doing the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import cv2
from torch.utils.data import DataLoader, Dataset

from facedistill.errors import FacedistillError

T = TypeVar("T")

_CHUNK = 32


def read_in_order(
    fetch: Callable[[int], T], indices: Sequence[int], workers: int
) -> Iterator[T | FacedistillError]:
    """Give `fetch(index)` for every index, in order.

    Args:
        fetch: What to do for an index; runs in a worker, so it must not change anything here.
        indices: Which.
        workers: Processes; 0 does everything in this one.

    Yields:
        The results; where `fetch` raised a FacedistillError, that error itself, so that it
        arrives as one line and not as a worker's traceback, and the caller decides.
    """
    chunks = [list(indices[start : start + _CHUNK]) for start in range(0, len(indices), _CHUNK)]
    for results in DataLoader(
        _Chunks(fetch, chunks),
        batch_size=None,
        num_workers=min(workers, len(chunks)),
        collate_fn=_unchanged,
        worker_init_fn=single_threaded,
    ):
        yield from results


def single_threaded(_: int) -> None:
    """Start a worker: one image each at a time, or OpenCV's threads fight over the cores."""
    cv2.setNumThreads(0)


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
