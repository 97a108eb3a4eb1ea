"""Opening `.npy` files of numbers, whatever is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def open_npy(path: Path) -> np.ndarray:
    """Memory-map a `.npy` file; nothing in it can run code or claim more memory than it has bytes.

    Args:
        path: The file.

    Returns:
        The array, read-only.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no `.npy` of plain numbers, cut short or too long.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise
    except Exception as error:
        # NumPy parses the header with Python's own parser and lets through what that raises:
        # SyntaxError, TokenError, OverflowError, RecursionError, ...
        raise ValueError(" ".join(str(error).split())[:120]) from error
    assert isinstance(array, np.memmap)
    surplus = path.stat().st_size - array.offset - array.nbytes
    if surplus:
        raise ValueError(f"it has {surplus} bytes more than it should")
    return array
