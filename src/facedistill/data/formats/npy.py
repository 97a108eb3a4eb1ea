"""Opening `.npy` files of numbers, whatever is wrong with them."""

from __future__ import annotations

from mmap import mmap
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import require_regular


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
    require_regular(path)
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


def require_uncut(array: np.ndarray) -> None:
    """Require that the file of a memory-mapped array is as long as it was.

    Where it was cut meanwhile, reading the array would end the process without a word. Arrays that
    are in memory pass.

    Raises:
        FacedistillError: Naming the file.
    """
    mapped = array.base if isinstance(array, np.memmap) else None
    if isinstance(mapped, mmap) and mapped.size() < len(mapped):
        raise FacedistillError(f"{array.filename}: the file changed while in use; start again")


def open_embeddings(path: Path) -> np.ndarray:
    """Memory-map a `.npy` file of embeddings.

    Args:
        path: The file.

    Returns:
        Floats (N, D), neither of them 0, read-only.

    Raises:
        FileNotFoundError: If there is no such file.
        FacedistillError: If it is damaged or holds something else.
    """
    try:
        array = open_npy(path)
    except ValueError as error:
        raise FacedistillError(f"{path} is no readable .npy file: {error}") from error
    if array.ndim != 2 or array.dtype.kind != "f" or not array.size:
        raise FacedistillError(
            f"{path} holds {array.dtype} {array.shape}, not embeddings: floats (N, D)"
        )
    return array
