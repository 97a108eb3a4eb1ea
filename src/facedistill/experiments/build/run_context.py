"""What the objectives of a recipe may ask of its run: a provider for each need it can serve."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank.mining import mine_neighbours
from facedistill.distill.objectives.context import (
    LandmarkCounts,
    Provider,
    RunContext,
    TeacherFacts,
    TrainingFaces,
)
from facedistill.distill.objectives.cross_architecture.pixel_features import (
    PixelFeatures,
    find_pixel_features,
)
from facedistill.distill.teachers.base import Network, Teacher
from facedistill.distill.teachers.centres import class_centres
from facedistill.distill.teachers.from_bank import BankTeacher, prototypes_of
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.distill.teachers.prompted import TrainableTeacher
from facedistill.distill.teachers.saliency import saliency_map
from facedistill.experiments.build.teacher import head_of
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.run_weights import best_of
from facedistill.models.heads.class_head import ClassHead
from facedistill.recipe.schema import Recipe, TeacherRecipe


def run_context(
    recipe: Recipe,
    student: FaceNetwork,
    faces: FaceDataset,
    teacher: Teacher | None,
    source: TeacherRecipe | None,
    device: torch.device,
) -> RunContext:
    """Return the run as objectives see it that learn from one of its teachers.

    Args:
        recipe: Of the run.
        student: The network to train.
        faces: To train on.
        teacher: The one that those objectives learn from.
        source: Its section of the recipe.
        device: Where to find out what they ask of teacher and faces.
    """
    identities = int(faces.labels.max()) + 1
    providers: dict[str, Provider] = {
        "run.faces": lambda: TrainingFaces(faces.name, faces.fingerprint),
        "run.images_per_identity": lambda: recipe.data.images_per_person,
        "run.landmarks": lambda: _landmarks(recipe, faces),
    }
    if teacher is not None:
        providers["run.teacher"] = lambda: _facts(recipe, teacher, source)
    if isinstance(teacher, BankTeacher):
        providers |= _of_bank(student, teacher, source, faces, identities, device)
    elif isinstance(teacher, NetworkTeacher) and source is not None and source.model is not None:
        providers |= _of_network(student, teacher, source.model, faces, identities, device)
    return RunContext(
        student.embedding_size, teacher.embedding_size if teacher else None, identities, providers
    )


def _of_bank(
    student: FaceNetwork,
    teacher: BankTeacher,
    source: TeacherRecipe | None,
    faces: FaceDataset,
    identities: int,
    device: torch.device,
) -> dict[str, Provider]:
    """What a bank can tell, and the network that it was made with, where that is at hand too."""
    network, model = teacher.plain, source.model if source else None
    providers: dict[str, Provider] = {
        "run.neighbours": partial(mine_neighbours, teacher.bank, faces, device=device),
        "run.class_centres": partial(prototypes_of, teacher.bank, faces),
        "run.teacher_classes": lambda: identities or None,
    }
    if teacher.pixels is not None:
        providers["run.pixel_features"] = lambda: _pixel_features(student, teacher.pixels)
    if teacher.channels is not None:
        providers["run.channels"] = lambda: (student.feature_channels, teacher.channels)
    if teacher.pixels is not None and network is not None and model is not None:
        providers["run.saliency"] = lambda: _saliency(network, faces, best_of(model), device)
    return providers


def _of_network(
    student: FaceNetwork,
    teacher: NetworkTeacher,
    model: str,
    faces: FaceDataset,
    identities: int,
    device: torch.device,
) -> dict[str, Provider]:
    """What only a network that is at hand can tell; what it takes to tell is kept beside it."""
    network, beside = teacher.plain, best_of(model)
    return {
        "run.class_centres": lambda: (
            class_centres(network, faces, beside, device) if identities else None
        ),
        "run.class_head": lambda: _own_head(head_of(beside, network), faces),
        "run.teacher_classes": lambda: teacher.head.classes if teacher.head else None,
        "run.channels": lambda: (
            (student.feature_channels, teacher.channels) if teacher.channels else None
        ),
        "run.pixel_features": lambda: _pixel_features(student, find_pixel_features(network)),
        "run.saliency": lambda: _saliency(network, faces, beside, device),
    }


def _saliency(
    network: Network, faces: FaceDataset, beside: Path, device: torch.device
) -> torch.Tensor | None:
    pixels = find_pixel_features(network)
    return saliency_map(network, pixels, faces, beside, device) if pixels else None


def _pixel_features(
    student: FaceNetwork, teacher: PixelFeatures | None
) -> tuple[PixelFeatures, PixelFeatures] | None:
    own = find_pixel_features(student)
    return (own, teacher) if own and teacher else None


def _own_head(head: ClassHead | None, faces: FaceDataset) -> ClassHead | None:
    """The class head that a teacher was trained with, if its classes are those of these faces."""
    return head if head is not None and head.identities == faces.fingerprint else None


def _facts(recipe: Recipe, teacher: Teacher, source: TeacherRecipe | None) -> TeacherFacts:
    augmentation = recipe.data.augmentation
    clean = source is not None and source.view == "clean"
    return TeacherFacts(
        teacher.name,
        trains=isinstance(teacher, TrainableTeacher),
        moves_apart=clean and (augmentation.flip > 0 or augmentation.moves),
        head=teacher.head,
    )


def _landmarks(recipe: Recipe, faces: FaceDataset) -> LandmarkCounts:
    marked = faces[0].landmarks
    return LandmarkCounts(None if marked is None else len(marked), recipe.student.landmarks)
