"""What a finished run has to show, on disk and in memory, and whose run it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from facedistill.core.atomic import atomic_path
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.regular_files import open_regular, read_regular, read_regular_text
from facedistill.distill.bank.format import info_path
from facedistill.experiments.folder import SUMMARY
from facedistill.models.files.run_weights import BEST, best_of
from facedistill.recipe.schema import Recipe


@dataclass(frozen=True)
class Summary:
    """What a finished run has to show.

    Attributes:
        folder: The run's folder.
        model: The best model file.
        steps: Optimiser steps done.
        validation: Best accuracy on validation identities, 0..1; of a landmark network the least
            NME; None where nothing was split off.
        evaluation: By name of pairs, the report's figures.
        skipped: Places of corrupt samples that were left out.
        images_per_second: Training speed of this session, evaluations included.
        seconds_per_step: Median time of a step in this session, data and teacher included; 0 if it
            made none.
        figure_numbers: Numbers of the figures that objectives leave, such as how alike student
            and teacher look: `agreement` and `correlation`.
        gradient_shares: Each objective's share of the student's gradient, as last measured.
        health: How the embeddings of validation images lie; see `run_health`.
    """

    folder: Path
    model: Path
    steps: int
    validation: float | None = None
    evaluation: dict[str, Any] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    images_per_second: float = 0.0
    seconds_per_step: float = 0.0
    figure_numbers: dict[str, float] = field(default_factory=dict)
    gradient_shares: dict[str, float] = field(default_factory=dict)
    health: Mapping[str, Any] | None = None


def origins(recipe: Recipe) -> dict[str, str]:
    """Return hashes of the files that a run begins with and learns from, by their keys.

    A path is not what is there; files that are gone are left out.
    """
    paths: dict[str, Path] = {}
    if recipe.student.init:
        paths["student.init"] = best_of(recipe.student.init)
    named = {"teacher": recipe.teacher} if recipe.teacher else {}
    named |= {f"teachers.{name}": each for name, each in recipe.teachers.items()}
    for name, teacher in named.items():
        if teacher.model:
            paths[f"{name}.model"] = best_of(teacher.model)
        if teacher.bank:
            paths[f"{name}.bank"] = info_path(Path(teacher.bank))
    return {key: _hash(path) for key, path in paths.items() if path.is_file()}


def _hash(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def changed_origin(folder: Path, recipe: Recipe) -> str | None:
    """Return the key of a file that is another than the finished run of a folder was made with."""
    try:
        made_with = dict(json.loads(read_regular_text(folder / SUMMARY)).get("origins", {}))
    except (OSError, ValueError, TypeError, AttributeError):
        return None  # There is none, or reading the rest reports the damage.
    now = origins(recipe)
    return next((key for key, each in now.items() if made_with.get(key, each) != each), None)


class _Stored(BaseModel):
    """A `summary.json` as it is read; its origins are compared apart."""

    recipe: str
    steps: int = Field(ge=0)
    validation_accuracy: float | None
    validation_nme: float | None = None
    evaluation: dict[str, dict[str, Any]]
    skipped: list[str]
    images_per_second: float
    seconds_per_step: float = 0.0
    receptive_fields: dict[str, float] = {}
    gradient_shares: dict[str, float] = {}
    health: dict[str, Any] | None = None

    @property
    def validation(self) -> float | None:
        """Accuracy, or of a landmark network the NME."""
        return self.validation_accuracy if self.validation_nme is None else self.validation_nme


def read_summary(folder: Path, recipe: Recipe) -> Summary | None:
    """Return what an earlier call finished; None where there is training or measuring to do.

    Raises:
        FacedistillError: If the summary is damaged, or what the run began with has changed since.
    """
    path = folder / SUMMARY
    if not path.exists() or not (folder / BEST).exists():
        return None
    try:
        content = _Stored.model_validate_json(read_regular(path), strict=True)
        if content.recipe != recipe.hash:
            return None
        if key := changed_origin(folder, recipe):
            raise FacedistillError(
                f"{folder} is finished, but what its {key} names has changed since: delete the "
                "folder to train anew, or bring back what was there"
            )
        return Summary(
            folder,
            folder / BEST,
            content.steps,
            content.validation,
            content.evaluation,
            content.skipped,
            content.images_per_second,
            content.seconds_per_step,
            content.receptive_fields,
            content.gradient_shares,
            content.health,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise FacedistillError(
            f"{path} is damaged ({place}: {first['msg']}): delete it to measure the finished run "
            "again"
        ) from error


def write_summary(summary: Summary, recipe: Recipe) -> None:
    """Write down that a run is finished, in its folder."""
    finds_landmarks = recipe.student.landmarks is not None
    content = {
        "recipe": recipe.hash,
        "seed": recipe.seed,
        "steps": summary.steps,
        "validation_accuracy": None if finds_landmarks else summary.validation,
        **({"validation_nme": summary.validation} if finds_landmarks else {}),
        "evaluation": summary.evaluation,
        "health": summary.health,
        "gradient_shares": {name: round(x, 4) for name, x in summary.gradient_shares.items()},
        "skipped": summary.skipped,
        "images_per_second": round(summary.images_per_second, 1),
        "seconds_per_step": round(summary.seconds_per_step, 6),
        "origins": origins(recipe),
    }
    if summary.figure_numbers:
        content["receptive_fields"] = summary.figure_numbers
    with atomic_path(summary.folder / SUMMARY) as temporary:
        temporary.write_text(json_text(content) + "\n", "utf-8")
