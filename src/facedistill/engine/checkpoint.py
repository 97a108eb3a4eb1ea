"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError, first_line

CHECKPOINT = "checkpoint.pt"
"""Its name in a run's folder."""

FORMAT = 1
_FOLDER = 0x10
"""Bit of a ZIP entry's attributes, from MS-DOS."""

_DAMAGE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
    pickle.UnpicklingError,
)
"""What reading a damaged file may raise, on its way through zip and pickle."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: File to (re)place.
        state: Tensors and plain values in dicts and lists; must hold `recipe`, the recipe's hash.

    Raises:
        FacedistillError: If it cannot be written, say because the disk is full.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save({"format": FORMAT} | state, temporary)
        except RuntimeError as error:
            reason = first_line(error)
            raise FacedistillError(f"cannot write {path}, is the disk full? ({reason})") from error


def load_checkpoint(path: Path, recipe: str) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can run code.

    Args:
        path: The file.
        recipe: Hash of the recipe that wants to go on.

    Raises:
        FacedistillError: If the file is damaged, or belongs to another recipe.
    """
    try:
        _check_sums(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        reason = " ".join(str(error).split())[:120]
        raise FacedistillError(
            f"checkpoint {path} is damaged ({reason}): delete it to start over"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FacedistillError(f"{path} is no checkpoint of this version: delete it to start over")
    if state.get("recipe") != recipe:
        raise FacedistillError(
            f"{path.parent} holds a run of another recipe ({state.get('recipe')}, not {recipe}): "
            "choose another --out, or give the same recipe and settings to go on"
        )
    return state


def _check_sums(path: Path) -> None:
    """Compare the checksums in the file, which torch does not, so that no weight is read wrong.

    What the directory calls a folder torch does not read at all, and leaves memory as it was.
    """
    with zipfile.ZipFile(path) as archive:
        folders = [each.filename for each in archive.infolist() if each.external_attr & _FOLDER]
        if folders:
            raise ValueError(f"{folders[0]} is called a folder")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"wrong checksum of {damaged}")
