"""Checkpoints: everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError, first_line
from facedistill.core.regular_files import open_regular
from facedistill.core.zip_directory import check_directory
from facedistill.engine.metrics_log import Averages
from facedistill.engine.shards import own_states, whole_states

CHECKPOINT = "checkpoint.pt"
"""Its name in a run's folder."""

FORMAT = 1
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


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        step: Optimiser steps done.
        best: Highest validation score so far: accuracy, or minus the NME.
        skipped: Places of corrupt samples left out so far.
    """

    step: int = 0
    best: float = float("-inf")
    skipped: set[str] = field(default_factory=set)


@dataclass
class TrainingState:
    """All that training changes.

    Attributes:
        weights: Student, objectives, and what trains of a teacher.
        optimizer: Over them.
        average: Averaged weights of the student; None without.
        scaler: Of the loss, with fp16; None without.
        means: Loss parts since they were last logged.
        position: Where the run stands.
    """

    weights: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None = None
    scaler: GradScaler | None = None
    means: Averages = field(default_factory=Averages)
    position: Position = field(default_factory=Position)

    def state_dict(self) -> dict[str, Any]:
        """Return it, and the state of the random numbers, as tensors and plain values.

        Every process must call it alike; the first then has the classes of all.
        """
        weights, optimizer = whole_states(self.weights, self.optimizer)
        state: dict[str, Any] = {
            "step": self.position.step,
            "best": self.position.best,
            "skipped": sorted(self.position.skipped),
            "weights": weights,
            "optimizer": optimizer,
            "means": self.means.state_dict(),
            "random": torch.get_rng_state(),
        }
        if self.average is not None:
            state["average"] = self.average.state_dict()
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        if torch.cuda.is_available():
            state["random_device"] = torch.cuda.get_rng_state()
        return state

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a checkpoint.

        Args:
            state: What `state_dict` returned.
            device: Of the run.
        """
        self.position = Position(int(state["step"]), float(state["best"]), set(state["skipped"]))
        weights, optimizer = own_states(
            self.weights, self.optimizer, state["weights"], state["optimizer"]
        )
        self.weights.load_state_dict(weights)
        self.optimizer.load_state_dict(optimizer)
        self.means.load_state_dict(state["means"], device)
        torch.set_rng_state(state["random"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        if torch.cuda.is_available() and "random_device" in state:
            torch.cuda.set_rng_state(state["random_device"])


@dataclass(frozen=True)
class Origin:
    """What a run is made of, which its checkpoint must be of too.

    Attributes:
        recipe: Hash of the recipe.
        data: Fingerprint of the training data.
        teachers: Fingerprints of the teachers.
    """

    recipe: str = ""
    data: str = ""
    teachers: list[str] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Return it as a checkpoint holds it."""
        return {"recipe": self.recipe, "teachers": self.teachers, "data": self.data}


def resume(path: Path, state: TrainingState, origin: Origin, device: torch.device) -> bool:
    """Go on from a checkpoint, if there is one.

    Args:
        path: Where it would be.
        state: Is set to what it was.
        origin: Of the run that wants to go on.
        device: Of the run.

    Returns:
        Whether there is one.

    Raises:
        FacedistillError: If the file is damaged, or is of a run of another origin or shape.
    """
    if not path.exists():
        return False
    stored = load_checkpoint(path, origin.recipe)
    now = origin.state_dict()
    for key, what in {"teachers": "with another teacher", "data": "on other training data"}.items():
        if stored.get(key, now[key]) != now[key]:
            raise FacedistillError(
                f"checkpoint {path} is of a run {what}, which was there by the same name: bring "
                "that back, or delete the checkpoint to start over"
            )
    try:
        state.load_state_dict(stored, device)
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise FacedistillError(
            f"checkpoint {path} does not fit this run ({first_line(error)}): delete it to start "
            "over"
        ) from error
    return True


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all.

    Args:
        path: File to (re)place.
        state: Tensors and plain values in dicts and lists; must hold `recipe`, the recipe's hash.

    Raises:
        FacedistillError: If it cannot be written, for instance because the disk is full.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save({"format": FORMAT} | state, temporary)
        except RuntimeError as error:
            reason = first_line(error)
            raise FacedistillError(
                f"cannot write {path}, is the disk full? ({reason}): free some space, then run the "
                "same command to go on"
            ) from error


def load_checkpoint(path: Path, recipe: str) -> dict[str, Any]:
    """Read a checkpoint; nothing in it can run code.

    Args:
        path: The file.
        recipe: Hash of the recipe that wants to go on.

    Raises:
        FacedistillError: If the file is damaged, or belongs to another recipe.
    """
    try:
        with open_regular(path) as file:
            _check_sums(file)
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
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


def _check_sums(file: BinaryIO) -> None:
    """Compare the checksums in the file, which torch does not, so that no weight is read wrong."""
    with zipfile.ZipFile(file) as archive:
        check_directory(archive, os.fstat(file.fileno()).st_size)
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"wrong checksum of {damaged}")
