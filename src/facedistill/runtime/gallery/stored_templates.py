"""Unit embeddings as a gallery stores them: float16, or 8-bit integers with a scale for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from facedistill.core.errors import FacedistillError

Precision = Literal["float16", "int8"]
"""`float16` takes 2 bytes a number; `int8` takes 1, and 4 for the scale of each embedding."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

_LARGEST = 127
_SCALE = np.dtype("<f4")


@dataclass(frozen=True)
class StoredTemplates:
    """Unit embeddings in stored form.

    Attributes:
        values: float16 or int8 (N, D).
        scales: float32 (N,), by which integers are multiplied; None of float16.
    """

    values: np.ndarray
    scales: np.ndarray | None = None

    @classmethod
    def of(cls, embeddings: np.ndarray, precision: Precision) -> StoredTemplates:
        """Return unit embeddings, float32 (N, D), in stored form."""
        if precision == "float16":
            return cls(embeddings.astype("<f2"))
        rounded = np.rint(embeddings * (_LARGEST / np.abs(embeddings).max(axis=1, keepdims=True)))
        # Not the factor that was multiplied by: so they are of length 1 for all their rounding.
        scales = 1 / np.linalg.norm(rounded, axis=1)
        return cls(rounded.astype(np.int8), scales.astype(_SCALE))

    @classmethod
    def from_rows(cls, rows: np.ndarray, precision: Precision) -> StoredTemplates:
        """Return what `rows` wrote.

        Args:
            rows: uint8 (N, `row_bytes`).
            precision: As it was written.
        """
        if precision == "float16":
            return cls(rows.view("<f2"))
        return cls(rows[:, _SCALE.itemsize :].view(np.int8), _scales_of(rows))

    def rows(self) -> list[bytes]:
        """Return the bytes of each embedding."""
        if self.scales is None:
            return [row.tobytes() for row in self.values]
        return [
            scale.tobytes() + row.tobytes()
            for scale, row in zip(self.scales, self.values, strict=True)
        ]

    def embeddings(self) -> np.ndarray:
        """Return the embeddings, float32 (N, D), of length 1 but for their rounding."""
        values = self.values.astype(np.float32)
        return values if self.scales is None else values * self.scales[:, None]

    def check(self, where: str) -> None:
        """Refuse what are no unit embeddings.

        Raises:
            FacedistillError: Naming `where`.
        """
        for start in range(0, len(self.values), 1 << 16):
            part = StoredTemplates(
                self.values[start : start + (1 << 16)],
                None if self.scales is None else self.scales[start : start + (1 << 16)],
            )
            lengths = np.linalg.norm(part.embeddings(), axis=1)
            if not (np.abs(lengths - 1) < 0.05).all():  # False of what is not finite, too
                raise FacedistillError(f"{where} is damaged: an embedding is not of length 1")


def row_bytes(dimension: int, precision: Precision) -> int:
    """Return the bytes that an embedding takes."""
    return 2 * dimension if precision == "float16" else dimension + _SCALE.itemsize


def _scales_of(rows: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows[:, : _SCALE.itemsize]).view(_SCALE)[:, 0]
