"""The most similar of many templates: every one is compared, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.gallery.int8_product import Int8Product
from facedistill.runtime.gallery.stored_templates import StoredTemplates

BLOCK = 16_384
"""Templates compared at a time: their scores with a few probes stay in a core's cache."""
_PROBES = 256
"""Probes compared at a time."""


class TemplateSearch:
    """Templates laid out to be searched.

    Of float16 they take 4 bytes a number in memory, as processors multiply no float16; of int8 1
    to 2. Scores of int8 are those of probes that are rounded to 8 bits as well: a cosine errs by
    about 0.001.

    Args:
        templates: To be searched.
        threads: CPU threads of products of integers; of floats the BLAS of NumPy has its own say.
    """

    def __init__(self, templates: StoredTemplates, *, threads: int = 1) -> None:
        self._threads = threads
        self._count = 0
        self._floats: list[np.ndarray] = []
        self._integers: list[tuple[Int8Product, np.ndarray]] = []
        self._dimension: int = templates.values.shape[1]
        self.add(templates)

    def __len__(self) -> int:
        return self._count

    def add(self, templates: StoredTemplates) -> None:
        """Lay out more templates, of the same precision; they are numbered on."""
        for start in range(0, len(templates.values), BLOCK):
            values = templates.values[start : start + BLOCK]
            if templates.scales is None:
                self._floats.append(values.astype(np.float32))
            else:
                scales = templates.scales[start : start + BLOCK]
                self._integers.append((Int8Product(values, self._threads), scales))
        self._count += len(templates.values)

    def nearest(self, probes: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return the most similar templates of each probe, the most similar first.

        Args:
            probes: float32 (P, D) of length 1.
            count: How many; fewer are returned where there are fewer.

        Returns:
            Their numbers, int64 (P, K), and their cosines, float32 (P, K). Of templates that are
            equally similar the earlier comes first.

        Raises:
            FacedistillError: If probes are no such matrix.
        """
        if probes.ndim != 2 or probes.shape[1] != self._dimension:
            raise FacedistillError(
                f"probes have shape {probes.shape}, templates {self._dimension} dimensions: both "
                "must come from one network"
            )
        if count < 1:
            raise FacedistillError(f"{count} most similar templates: ask for at least 1")
        found = [
            self._nearest(probes[start : start + _PROBES], min(count, self._count))
            for start in range(0, max(1, len(probes)), _PROBES)
        ]
        return np.concatenate([each[0] for each in found]), np.concatenate(
            [each[1] for each in found]
        )

    def _nearest(self, probes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        best = _Best(len(probes), count)
        for start, scores in self._scores(probes):
            best.add(start, scores)
        return best.numbers, best.scores

    def _scores(self, probes: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield each block's first number, and the scores float32 (P, B) of its templates."""
        start = 0
        for block in self._floats:
            # In this order BLAS is faster by a third where probes are few.
            yield start, (block @ probes.T).T
            start += len(block)
        if self._integers:
            rounded = StoredTemplates.of(probes, "int8")
            assert rounded.scales is not None
            for product, scales in self._integers:
                scores = product(rounded.values).astype(np.float32)
                scores *= scales
                scores *= rounded.scales[:, None]
                yield start, scores
                start += len(scales)


class _Best:
    """The highest scores so far of each probe, and whose they are."""

    def __init__(self, probes: int, count: int) -> None:
        self.numbers = np.zeros((probes, 0), np.int64)
        self.scores = np.zeros((probes, 0), np.float32)
        self._count = count

    def add(self, start: int, scores: np.ndarray) -> None:
        """Take in the scores (P, B) of templates `start` and following."""
        if self._count == 1 and self.scores.shape[1]:
            rows = np.arange(len(scores))
            numbers = scores.argmax(axis=1)
            better = scores[rows, numbers] > self.scores[:, 0]
            self.numbers[better, 0] = start + numbers[better]
            self.scores[better, 0] = scores[rows, numbers][better]
            return
        if self.scores.shape[1] == self._count and self._count:
            # Most blocks bring few that are better than the last of the best.
            wanted = np.flatnonzero((scores > self.scores[:, -1:]).any(axis=0))
        else:
            wanted = np.arange(scores.shape[1])
        numbers = np.broadcast_to(start + wanted, (len(scores), len(wanted)))
        merged = np.concatenate([self.scores, scores[:, wanted]], axis=1)
        named = np.concatenate([self.numbers, numbers], axis=1)
        order = np.argsort(-merged, axis=1, kind="stable")[:, : self._count]
        self.scores = np.take_along_axis(merged, order, axis=1)
        self.numbers = np.take_along_axis(named, order, axis=1)
