"""One face with its label, and the key that names it wherever it is stored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xxhash

KEY_BYTES = 16


class Sample(NamedTuple):
    """One face as every reader gives it.

    Attributes:
        image: uint8 RGB, shape (H, W, 3).
        label: Identity 0..M-1, or -1 where unknown.
        key: 16 bytes that name the image wherever it is stored: the hash of its encoded bytes.
        landmarks: float32 (P, 2), fractions of the image's sides (see `faces.landmarks`), or None
            where unknown.
    """

    image: np.ndarray
    label: int
    key: bytes
    landmarks: np.ndarray | None = None


def content_key(encoded: bytes | memoryview) -> bytes:
    """Return the 16-byte XXH3 digest of an encoded image.

    It tells images apart, hundreds of millions of them; it does not stand against someone who makes
    two images with one key, who could as well label them falsely.
    """
    return xxhash.xxh3_128_digest(encoded)
