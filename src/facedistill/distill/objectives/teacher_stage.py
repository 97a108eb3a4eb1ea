"""What of an objective learns from the teacher alone, before a student learns anything.

A stage trains once for a teacher and the faces; the file that it leaves is shared by all runs that
have both, whatever their students and seeds.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss
from facedistill.models.files.signed_file import MAPPING, open_signed, write_signed
from facedistill.models.outputs import Outputs


@dataclass(frozen=True)
class StageLength:
    """How long and how a stage trains.

    Attributes:
        epochs: Over the training faces.
        lr: Highest learning rate, of AdamW and one cycle.
        batch_size: Images per step.
        seed: Of its weights, the order of images and their augmentation.
    """

    epochs: float = 4.0
    lr: float = 2e-3
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs <= 0 or self.lr <= 0 or self.batch_size < 2 or self.seed < 0:
            raise ValueError(
                f"a stage of {self.epochs:g} epochs, lr {self.lr:g}, batch_size {self.batch_size}, "
                f"seed {self.seed}: epochs and lr must be above 0, batch_size 2 or more, seed 0 or "
                "more"
            )


@dataclass(frozen=True)
class StageOrigin:
    """What a stage learned from.

    Attributes:
        teacher: Fingerprint of the teacher.
        teacher_name: What to call it in messages.
        faces: Fingerprint of the faces.
        source: How the teacher was had: `network`, or `bank` with the bits of its storage.
        view: Which image the teacher saw.
    """

    teacher: str
    teacher_name: str
    faces: str
    source: str
    view: str


class TeacherStage(nn.Module, ABC):
    """Something of an objective that learns from the teacher's outputs alone.

    Attributes:
        noun: What to call it in messages, and in the name of its file.
        needs: Outputs that it reads of the teacher.
        length: How it trains.
        given: A file to take it from instead of training; None for none.
    """

    noun: ClassVar[str]
    needs: frozenset[str]
    length: StageLength
    given: Path | None = None

    @abstractmethod
    def essence(self) -> dict[str, Any]:
        """Return, for JSON, the options that decide its shape and what it learns to do."""

    @abstractmethod
    def forward(self, teacher: Outputs, batch: Batch) -> Loss:
        """Return a scalar to minimise, and its parts."""

    def key(self, origin: StageOrigin) -> str:
        """Return the hex digest of all that decides what it learns."""
        document = [self.essence(), vars(self.length), vars(origin)]
        text = json.dumps(document, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def save_stage(
    stage: TeacherStage, path: Path, origin: StageOrigin, figures: dict[str, float]
) -> None:
    """Write what a stage has learned, and from what, replacing an old file whole.

    Args:
        stage: The stage.
        path: Where to; ends in .safetensors.
        origin: What it learned from.
        figures: Means of its loss and parts at the end.

    Raises:
        FacedistillError: If a value is not finite, or the write is refused.
    """
    document = {
        "format_version": MAPPING.version,
        MAPPING.key: stage.essence(),
        "length": vars(stage.length),
        "origin": vars(origin),
        "figures": figures,
    }
    tensors = {k: v.detach().cpu().contiguous() for k, v in stage.state_dict().items()}
    write_signed(path, document, tensors)


def load_stage(stage: TeacherStage, path: Path, teacher: str, name: str) -> dict[str, float]:
    """Give a stage what an earlier one has learned.

    Args:
        stage: Of the same options.
        path: A file of `save_stage`.
        teacher: Fingerprint of the teacher that it must be of.
        name: What to call that teacher.

    Returns:
        Figures that stand in the file.

    Raises:
        FacedistillError: If the file is absent, damaged, of another teacher or of other options.
    """
    with open_signed(path, MAPPING) as file:
        document = file.document
        if document["origin"]["teacher"] != teacher:
            raise FacedistillError(
                f"{path} holds a {stage.noun} of teacher {document['origin']['teacher_name']}, "
                f"whose weights or input are not those of {name}: give one of this teacher, or "
                "none, and it is learned"
            )
        _check_options(stage, path, document[MAPPING.key])
        file.check_layout(stage.state_dict(), f"this {stage.noun}")
        tensors = file.read()
        figures = {str(k): float(v) for k, v in document["figures"].items()}
    stage.load_state_dict(tensors)
    return figures


def _check_options(stage: TeacherStage, path: Path, stored: dict[str, Any]) -> None:
    for key, value in stage.essence().items():
        if stored[key] != value:
            raise FacedistillError(
                f"{path} holds a {stage.noun} with {key}: {stored[key]}, and the recipe has "
                f"{value}: set it as the file has it, or give no file"
            )


def frozen(module: nn.Module) -> None:
    """Let nothing of a module learn any more."""
    for weight in module.parameters():
        weight.requires_grad_(False)


def same_weights(module: nn.Module, other: nn.Module) -> None:
    """Give a module the weights of another of the same shape."""
    with torch.no_grad():
        module.load_state_dict(other.state_dict())
