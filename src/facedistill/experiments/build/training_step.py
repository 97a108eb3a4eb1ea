"""The objectives of a recipe, each told what it may know of the run, and all as one step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.distill.bank.mining import mine_neighbours
from facedistill.distill.objectives.base import Setting, create_objective
from facedistill.distill.objectives.cross_architecture.pixel_features import find_pixel_features
from facedistill.distill.teachers.base import Network, Teacher
from facedistill.distill.teachers.centres import class_centres
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.distill.teachers.prompted import TrainableTeacher
from facedistill.distill.teachers.saliency import saliency_map
from facedistill.engine.step import TrainingStep
from facedistill.engine.weights import Weight
from facedistill.experiments.build.teacher import best_of, head_of
from facedistill.models.face_network import FaceNetwork
from facedistill.models.heads.class_head import ClassHead
from facedistill.recipe.schema import Recipe, TeacherRecipe


def create_training_step(
    recipe: Recipe,
    student: FaceNetwork,
    faces: FaceDataset,
    teacher: Teacher | None,
    others: Mapping[str, Teacher],
    device: torch.device,
) -> TrainingStep:
    """Put the student and a recipe's objectives together.

    Args:
        recipe: Whose objectives to create.
        student: The network to train.
        faces: To train on.
        teacher: The run's teacher.
        others: Further teachers by name.
        device: Where to find out what objectives ask of teacher and faces beforehand.

    Raises:
        FacedistillError: If objectives, teachers and faces do not fit together.
    """
    _check_landmarks(recipe, faces)
    _check_people(recipe)
    everyone: dict[str | None, Teacher | None] = {None: teacher} | dict(others)
    _check_prompts(recipe, everyone)
    sources = {None: recipe.teacher} | dict(recipe.teachers)
    settings = {
        name: _online_setting(
            _setting(student, each, faces, device), student, each, sources[name], faces, device
        )
        for name, each in everyone.items()
    }
    objectives = {
        name: create_objective(name, settings[term.of], **term.arguments)
        for name, term in recipe.objectives.items()
    }
    taught_by = {name: term.of for name, term in recipe.objectives.items() if term.of}
    trainable = teacher if isinstance(teacher, TrainableTeacher) else None
    step = TrainingStep(student, objectives, _weights(recipe), taught_by, trainable)
    for name, each in everyone.items():
        if isinstance(each, BankTeacher) and "logits" in step.needs_of(name):
            each.learn_prototypes(faces)
            # Else the same temperature would ask for other cosines than the teacher's.
            each.scale = step.classifier.head.scale if step.classifier else each.scale
        if each is not None and step.compares_classes(name):
            each.check_classes(faces)
    step.check_teacher(teacher)
    step.check_others(others)
    if not step.trains_the_end:
        warnings.warn(
            "no objective trains the student's last layer, which stays as it begins: add one that "
            "does, such as fcd or margin_softmax",
            stacklevel=2,
        )
    return step


def _check_prompts(recipe: Recipe, teachers: Mapping[str | None, Teacher | None]) -> None:
    """Refuse to preserve a teacher of which nothing changes."""
    term = recipe.objectives.get("prompt_preservation")
    teacher = teachers.get(term.of) if term else None
    if teacher is not None and not isinstance(teacher, TrainableTeacher):
        raise FacedistillError(
            f"objective 'prompt_preservation' is for prompts, and {teacher.name} has none that "
            "train: give teacher.prompts, or set objectives.prompt_preservation to null"
        )


def _weights(recipe: Recipe) -> dict[str, Weight]:
    return {
        name: Weight(
            value=term.factor,
            start=term.start,
            stop=term.stop,
            warmup=term.warmup,
            shape=term.schedule,
            final=term.final,
            share=term.share,
        )
        for name, term in recipe.objectives.items()
    }


def _setting(
    student: FaceNetwork, teacher: Teacher | None, faces: FaceDataset, device: torch.device
) -> Setting:
    """What an objective that learns from this teacher may know of the run."""
    identities = int(faces.labels.max()) + 1
    return Setting(
        student_size=student.embedding_size,
        teacher_size=teacher.embedding_size if teacher else None,
        identities=identities,
        mine=partial(mine_neighbours, teacher.bank, faces, device=device)
        if isinstance(teacher, BankTeacher)
        else None,
        teacher_centres=partial(teacher.learn_prototypes, faces)
        if isinstance(teacher, BankTeacher)
        else None,
        student_channels=student.feature_channels,
        teacher_channels=teacher.channels if teacher else None,
        teacher_classes=_classes(teacher, identities),
    )


def _online_setting(
    setting: Setting,
    student: FaceNetwork,
    teacher: Teacher | None,
    source: TeacherRecipe | None,
    faces: FaceDataset,
    device: torch.device,
) -> Setting:
    """Add what only a network that is at hand can tell; what it takes to tell is kept beside it."""
    if source is None or source.model is None or not isinstance(teacher, NetworkTeacher):
        return setting
    network, beside = teacher.plain, best_of(source.model)
    pixels = find_pixel_features(network)
    return replace(
        setting,
        teacher_centres=partial(class_centres, network, faces, beside, device)
        if setting.identities
        else None,
        teacher_head=partial(_own_head, beside, network, faces),
        student_pixels=find_pixel_features(student),
        teacher_pixels=pixels,
        saliency=partial(saliency_map, network, pixels, faces, beside, device) if pixels else None,
    )


def _own_head(model: Path, network: Network, faces: FaceDataset) -> ClassHead | None:
    """The class head that a teacher was trained with, if its classes are those of these faces."""
    head = head_of(model, network)
    return head if head is not None and head.identities == faces.fingerprint else None


def _classes(teacher: Teacher | None, identities: int) -> int | None:
    """Of how many classes a teacher can give logits: its own, or a bank's of this data's people."""
    if isinstance(teacher, BankTeacher):
        return identities or None
    return teacher.head.classes if teacher and teacher.head else None


def _check_people(recipe: Recipe) -> None:
    """Refuse to compare people in batches that hardly ever show anybody twice."""
    named = [name for name in ("triplet", "triplet_distillation") if name in recipe.objectives]
    if named and recipe.data.images_per_person is None:
        raise FacedistillError(
            f"objective '{named[0]}' compares images of one person, which batches drawn at random "
            "may not have: set data.images_per_person, to 4 say"
        )


def _check_landmarks(recipe: Recipe, faces: FaceDataset) -> None:
    """Refuse to learn landmarks that the data has not, or that are of another view."""
    if "landmark_regression" in recipe.objectives:
        marked, points = faces[0].landmarks, recipe.student.landmarks
        if marked is None:
            raise FacedistillError(
                f"objective 'landmark_regression' needs landmarks and {faces.name} has none: give "
                "a landmark list, a folder with .pts files or procedural faces"
            )
        if points is not None and len(marked) != points:
            raise FacedistillError(
                f"{faces.name} has {len(marked)} landmarks a face and student.landmarks is "
                f"{points}: set it to {len(marked)}"
            )
    imitation, augmentation = recipe.objectives.get("landmark_imitation"), recipe.data.augmentation
    if imitation is None or not (augmentation.flip > 0 or augmentation.moves):
        return
    teacher = recipe.teachers[imitation.of] if imitation.of else recipe.teacher
    if teacher is not None and teacher.view == "clean":
        raise FacedistillError(
            "objective 'landmark_imitation' follows the teacher's points, and under view: clean "
            "they lie elsewhere than in the mirrored or moved image: set teacher.view: same, or "
            "data.augmentation.flip, shift, scale and rotation to 0"
        )
