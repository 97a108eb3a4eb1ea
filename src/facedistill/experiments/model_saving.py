"""Model files of a run, with their metadata."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from facedistill.data.dataset import FaceDataset
from facedistill.distill.objectives.base import Objective
from facedistill.distill.teachers.base import Teacher
from facedistill.engine.step import TrainingStep
from facedistill.evaluation.report import Report
from facedistill.experiments.build.teacher import origin, stated
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.recipe.schema import Recipe

Save = Callable[[FaceNetwork, str, Report | None], None]
"""Writes a model file of the given name that carries the figures of its validation."""


def saver(
    recipe: Recipe,
    folder: Path,
    teachers: Sequence[Teacher | None],
    step: TrainingStep,
    faces: FaceDataset,
) -> Save:
    """Return what saves the student as a model file, with what objectives leave beside it.

    Args:
        recipe: Of the run.
        folder: Where to.
        teachers: As `origin` takes them.
        step: Whose objectives may leave files, such as a class head.
        faces: What the student learns from.
    """
    teacher_name, teacher_licence = origin(recipe, teachers)
    objectives = [each for each in step.objectives.values() if isinstance(each, Objective)]
    artifacts = [artifact for each in objectives for artifact in each.artifacts()]

    def save(network: FaceNetwork, name: str, report: Report | None) -> None:
        figures = report.figures if report else {}
        metadata = ModelMetadata(
            name=f"{recipe.name}-{recipe.student.network}",
            teacher=teacher_name,
            teacher_licence=teacher_licence,
            training_data=_called(recipe.data.train, faces),
            data_licence=stated(recipe.data.licence),
            recipe_hash=recipe.hash,
            metrics={f"validation.{key}": value for key, value in figures.items()},
            thresholds=dict(report.thresholds) if report else {},
        )
        path = folder / f"{name}.safetensors"
        save_model(network, path, metadata=metadata)
        for artifact in artifacts:
            artifact.save(path, network)

    return save


def _called(source: str, faces: FaceDataset) -> str:
    """Return what training data is called; of a path only what reveals nothing of the machine."""
    identities = int(faces.labels.max()) + 1
    text = f"{Path(source).resolve().name}: {len(faces):,} images"
    return f"{text} of {identities:,} identities" if identities else text
