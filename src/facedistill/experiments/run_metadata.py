"""What the model files of a run say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facedistill.data.dataset import FaceDataset
from facedistill.distill.teachers.base import Teacher
from facedistill.evaluation.training_overlap import mark_training_set
from facedistill.experiments.build.teacher import origin, stated
from facedistill.models.files.model_metadata import ModelMetadata, TrainingSet
from facedistill.recipe.schema import Recipe


def run_metadata(
    recipe: Recipe,
    teachers: Sequence[Teacher | None],
    faces: FaceDataset,
    earlier: Sequence[TrainingSet] = (),
) -> ModelMetadata:
    """Return the metadata of a run's model files, without the figures of a validation.

    Args:
        recipe: Of the run.
        teachers: As `origin` takes them.
        faces: What the student learns from.
        earlier: What its first weights learned from.
    """
    called = _called(recipe.data.train, faces)
    own = mark_training_set(faces, called)
    teacher_name, teacher_licence = origin(recipe, teachers)
    return ModelMetadata(
        name=f"{recipe.name}-{recipe.student.network}",
        teacher=teacher_name,
        teacher_licence=teacher_licence,
        training_data=called,
        trained_on=(own, *(each for each in earlier if each.fingerprint != own.fingerprint)),
        data_licence=stated(recipe.data.licence),
        recipe_hash=recipe.hash,
    )


def _called(source: str, faces: FaceDataset) -> str:
    """Return what training data is called; of a path only what reveals nothing of the machine."""
    identities = int(faces.labels.max()) + 1
    text = f"{Path(source).resolve().name}: {len(faces):,} images"
    return f"{text} of {identities:,} identities" if identities else text
