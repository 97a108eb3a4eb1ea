"""Everything of a recipe that trains, as one step, and the teachers as that step needs them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import NamedTuple

import torch

from facedistill.data.dataset import FaceDataset
from facedistill.distill.objectives.base import Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import check_objective, create_objective
from facedistill.distill.teachers.base import Teacher
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.distill.teachers.prompted import TrainableTeacher
from facedistill.engine.step import TrainingStep
from facedistill.engine.weights import Weight
from facedistill.experiments.build.run_context import run_context
from facedistill.models.face_network import FaceNetwork
from facedistill.recipe.schema import Recipe


class StepAndTeachers(NamedTuple):
    """What trains, and the teachers that give what its objectives need.

    Attributes:
        step: The student and the objectives.
        teacher: The run's teacher.
        others: Further teachers by name.
    """

    step: TrainingStep
    teacher: Teacher | None
    others: dict[str, Teacher]


def create_training_step(
    recipe: Recipe,
    student: FaceNetwork,
    faces: FaceDataset,
    teacher: Teacher | None,
    others: Mapping[str, Teacher],
    device: torch.device,
) -> StepAndTeachers:
    """Put the student and a recipe's objectives together, and give teachers what is asked of them.

    Args:
        recipe: Whose objectives to create.
        student: The network to train.
        faces: To train on.
        teacher: The run's teacher as it was opened.
        others: Further ones by name.
        device: Where to find out what objectives ask of teacher and faces beforehand.

    Raises:
        FacedistillError: If objectives, teachers and faces do not fit together.
    """
    sources = {None: recipe.teacher} | dict(recipe.teachers)
    opened: dict[str | None, Teacher | None] = {None: teacher} | dict(others)
    contexts = {
        name: run_context(recipe, student, faces, each, sources[name], device)
        for name, each in opened.items()
    }
    objectives = _objectives(recipe, contexts)
    teacher_of = {name: term.of for name, term in recipe.objectives.items() if term.of}
    trainable = teacher if isinstance(teacher, TrainableTeacher) else None
    step = TrainingStep(student, objectives, _weights(recipe), teacher_of, trainable)
    giving = {
        name: _giving(each, step, name, contexts[name], device)
        for name, each in opened.items()
        if each
    }
    own = giving.pop(None, None)
    further = {name: each for name, each in giving.items() if name is not None}
    step.check_teacher(own)
    step.check_others(further)
    if not step.trains_the_end:
        warnings.warn(
            "no objective trains the student's last layer, which stays as it begins: add one that "
            "compares or classifies its embeddings",
            stacklevel=2,
        )
    return StepAndTeachers(step, own, further)


def _objectives(recipe: Recipe, contexts: Mapping[str | None, RunContext]) -> dict[str, Objective]:
    """Build the recipe's objectives; one that the run does not suit is refused."""
    for name, term in recipe.objectives.items():
        check_objective(name, contexts[term.of], **term.arguments)
    objectives = {}
    for name, term in recipe.objectives.items():
        made = create_objective(name, contexts[term.of], **term.arguments)
        if {"student.logits", "teacher.logits"} <= made.needs:
            contexts[term.of].check_classes()
        objectives[name] = made
    return objectives


def _giving(
    teacher: Teacher,
    step: TrainingStep,
    name: str | None,
    context: RunContext,
    device: torch.device,
) -> Teacher:
    """Return a teacher that gives logits, if it is a bank's and objectives need them."""
    if not isinstance(teacher, BankTeacher) or "logits" not in step.needs_of(name):
        return teacher
    own = step.classifier
    # Of another scale than the student's, the same temperature would ask for other cosines.
    scale = own.scale if own else teacher.scale
    centres = context.class_centres.to(device)
    return BankTeacher(teacher.bank, teacher.view, centres, scale, teacher.plain)


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
