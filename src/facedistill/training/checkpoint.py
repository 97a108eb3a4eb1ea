"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from facedistill.atomic import atomic_path
from facedistill.errors import FacedistillError

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: File to (re)place.
        state: Tensors and plain values in dicts and lists; must hold `recipe`, the recipe's hash.
    """
    with atomic_path(path) as temporary:
        torch.save({"format": FORMAT} | state, temporary)


def load_checkpoint(path: Path, recipe: str) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can run code.

    Args:
        path: The file.
        recipe: Hash of the recipe that wants to go on.

    Raises:
        FacedistillError: If the file is damaged, or belongs to another recipe.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:120]
        raise FacedistillError(
            f"checkpoint {path} is damaged ({reason}): delete it to start over"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise FacedistillError(f"{path} is no checkpoint of this version: delete it to start over")
    if state["recipe"] != recipe:
        raise FacedistillError(
            f"{path.parent} holds a run of another recipe ({state['recipe']}, not {recipe}): "
            "choose another --out, or give the same recipe and settings to go on"
        )
    return state
