"""What objectives learn from their teachers alone: taken from a file, or trained before the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import torch

from facedistill.core.errors import naming
from facedistill.core.progress import Say
from facedistill.data.dataset import FaceDataset
from facedistill.data.loading.loader import Loader, Order
from facedistill.distill.bank.tensor_cache import stem_beside
from facedistill.distill.objectives.base import Objective
from facedistill.distill.objectives.teacher_stage import StageOrigin, TeacherStage, load_stage
from facedistill.distill.teachers.base import Teacher
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.distill.teachers.prompted import TrainableTeacher
from facedistill.engine.stage_training import StageFiles, StageTraining
from facedistill.experiments.build.teacher import check_views
from facedistill.models.files.run_weights import best_of
from facedistill.recipe.augmentation_options import Augmentation
from facedistill.recipe.schema import Recipe, TeacherRecipe


def run_teacher_stages(
    recipe: Recipe,
    objectives: Mapping[str, Objective],
    teachers: Mapping[str | None, Teacher | None],
    faces: FaceDataset,
    device: torch.device,
    say: Say,
) -> None:
    """Give objectives what they learn from their teachers alone, in place.

    A stage that has learned lies beside its teacher, and is found there by the next run with the
    same teacher, faces and options.

    Args:
        recipe: Of the run.
        objectives: By name.
        teachers: The run's by None, further ones by name.
        faces: To train on.
        device: Where to train.
        say: Takes a line about what goes on.

    Raises:
        FacedistillError: If a file that was named does not fit.
    """
    for name, objective in objectives.items():
        stage = objective.teacher_stage()
        if stage is None:
            continue
        of = recipe.objectives[name].of
        source = recipe.teachers[of] if of else recipe.teacher
        teacher = teachers[of]
        assert source is not None and teacher is not None, "it has said what it needs of one"
        with naming(f"objectives.{name}.{stage.noun}") if stage.given else nullcontext():
            figures = _learned(recipe, stage, _alone(teacher, source), source, faces, device, say)
        objective.take_stage(stage.cpu())
        shown = ", ".join(f"{key} {value:.4f}" for key, value in figures.items())
        say(f"{name}: {stage.noun} of {teacher.name} ({shown})")


def _alone(teacher: Teacher, source: TeacherRecipe) -> Teacher:
    """The teacher as it is before anything of it trains."""
    if not isinstance(teacher, TrainableTeacher):
        return teacher
    return NetworkTeacher(teacher.plain, source.view, precision=teacher.precision)


def _learned(
    recipe: Recipe,
    stage: TeacherStage,
    teacher: Teacher,
    source: TeacherRecipe,
    faces: FaceDataset,
    device: torch.device,
    say: Say,
) -> dict[str, float]:
    """Load a stage from the file that is given or found, or train it; return its figures."""
    origin = StageOrigin(
        teacher.fingerprint,
        teacher.name,
        faces.fingerprint,
        "bank" if isinstance(teacher, BankTeacher) else "network",
        source.view,
    )
    path = stage.given or stage_path(stage, source, origin)
    if stage.given or path.exists():
        return load_stage(stage, path, teacher.fingerprint, teacher.name)
    say(f"{stage.noun}: learns from {teacher.name} alone, once; kept as {path}")
    check_views(recipe, teacher)
    files = StageFiles(path, 60 * recipe.training.checkpoint_minutes)
    loader = _loader(recipe, stage, teacher, faces, device)
    return StageTraining(stage, teacher, loader, origin, files, device).run()


def stage_path(stage: TeacherStage, source: TeacherRecipe, origin: StageOrigin) -> Path:
    """Return where a stage that has learned is kept: beside the teacher's file, or in its bank."""
    beside = best_of(source.model) if source.model else Path(source.bank or "")
    stem = stem_beside(beside, stage.noun)
    return stem.with_name(f"{stem.name}-{stage.key(origin)}.safetensors")


def _loader(
    recipe: Recipe, stage: TeacherStage, teacher: Teacher, faces: FaceDataset, device: torch.device
) -> Loader:
    """Batches of the training faces, mirrored as often as in the run and otherwise as they are."""
    data, length = recipe.data, stage.length
    return Loader(
        faces,
        Order(len(faces), min(length.batch_size, len(faces)), length.seed),
        augmentation=Augmentation(flip=data.augmentation.flip),
        workers=data.workers,
        cache=data.cache,
        image_size=data.image_size,
        keep_clean=teacher.wants_clean,
        on_error=data.on_error,
        device=device,
    )
