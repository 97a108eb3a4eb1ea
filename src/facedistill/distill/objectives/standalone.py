"""Losses usable alone, in a training loop of one's own: no recipe and no run.

Example:
    >>> from facedistill.distill.objectives import loss
    >>> fcd = loss("fcd")
    >>> student, teacher = torch.ones(8, 4, requires_grad=True), torch.eye(8, 4)
    >>> value = fcd(student, teacher)
    >>> value.backward()
    >>> round(value.item(), 4)
    0.75

    Where something trains with a loss, such as the projection between embeddings of different
    dimensions, sizes are given, so that an optimiser finds it:

    >>> fcd = loss("fcd", student_size=4, teacher_size=16)
    >>> [tuple(weight.shape) for weight in fcd.parameters()]
    [(16, 4)]

    Losses of labelled faces take the labels behind the embeddings:

    >>> triplet = loss("triplet", identities=4, sampling="batch_hard")
    >>> triplet(student, labels=torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])).shape
    torch.Size([])
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.data.sample import KEY_BYTES
from facedistill.distill.bank.mining import Neighbours, nearest
from facedistill.distill.objectives.base import Objective, Parts
from facedistill.distill.objectives.context import Provider, RunContext
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs

_READ = {"student.embedding", "teacher.embedding"}
"""What a loss of embeddings reads."""

_SIZE, _IDENTITIES = 8, 1000
"""Of the embeddings with which a method is tried, to see what it needs."""


class _EmbeddingsAlone(RunContext):
    """What a loss knows outside a run: sizes, identities, class centres."""

    def lacking(self, need: str) -> FacedistillError:
        return _no_loss_of_embeddings(self.objective, {need})


def _no_loss_of_embeddings(name: str | None, needs: Iterable[str]) -> FacedistillError:
    return FacedistillError(
        f"objective '{name}' reads {', '.join(sorted(needs))} and is no loss of embeddings alone: "
        "train it by a recipe, or call the objective in a step of your own (see "
        "distill/objectives/base.py)"
    )


def _needs_of(name: str, options: Mapping[str, Any], identities: int) -> frozenset[str]:
    """Return what a method needs, found by building a small one.

    Raises:
        FacedistillError: If name or options are unknown, or it reads more than embeddings.
    """
    count = identities or _IDENTITIES
    centres = F.normalize(torch.ones(count, _SIZE))
    providers: dict[str, Provider] = {
        "run.class_centres": lambda: centres,
        "run.neighbours": lambda nearest: Neighbours(
            centres, torch.zeros(count, nearest, dtype=torch.int64), torch.zeros(count, nearest)
        ),
    }
    context = _EmbeddingsAlone(_SIZE, _SIZE, count, providers)
    with torch.random.fork_rng(devices=[]):
        needs = create_objective(name, context, **options).needs
    others = {need for need in needs if not need.startswith("run.")} - _READ
    if others:
        raise _no_loss_of_embeddings(name, others)
    return needs


class StandaloneLoss(nn.Module):
    """An objective as a function of embeddings; made by `loss`.

    Attributes:
        parts: Detached scalars of the last call, by name.
    """

    def __init__(
        self,
        name: str,
        sizes: tuple[int, int | None] | None,
        identities: int,
        class_centres: torch.Tensor | None,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        self.name, self.options = name, options
        self.identities, self.class_centres = identities, class_centres
        self.parts: Parts = {}
        self.objective: Objective | None = None
        self._unfinished = False
        self._needs = _needs_of(name, options, identities)
        self._check_given(sizes)
        if sizes is not None:
            self.objective = self._built(*sizes)

    def forward(
        self,
        student_embeddings: torch.Tensor,
        teacher_embeddings: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the loss of a batch.

        In training mode, a method that remembers earlier steps takes each call for one.

        Args:
            student_embeddings: (B, D), not normalised.
            teacher_embeddings: (B, E); None for a method without a teacher.
            labels: int64 (B,), 0..M-1, for methods of labelled faces.

        Returns:
            A scalar.

        Raises:
            FacedistillError: If the method needs something else.
        """
        self._check(teacher_embeddings, labels)
        if self.objective is None:
            self.objective = self._built_for(student_embeddings, teacher_embeddings)
        batch = _batch(student_embeddings, labels)
        student, teacher = Outputs(student_embeddings), Outputs(teacher_embeddings)
        if self.training:
            # What is remembered changes only when the gradients of the last call have been taken.
            if self._unfinished:
                self.objective.finish_step(lambda rows: gathered(rows)[0])
            self.objective.observe(student, teacher, batch)
            self._unfinished = True
        value, self.parts = self.objective(student, teacher, batch)
        return value

    def _check_given(self, sizes: tuple[int, int | None] | None) -> None:
        """Refuse what the method needs and was not given.

        Raises:
            FacedistillError: Naming the argument.
        """
        lacking = ""
        if "run.identities" in self._needs and not self.identities:
            lacking = "labels: give identities=, the number of classes, and labels= with each batch"
        elif self._needs & {"run.class_centres", "run.neighbours"} and self.class_centres is None:
            lacking = "the teacher's class centres: give class_centres="
        elif "teacher.embedding" in self._needs and sizes is not None and sizes[1] is None:
            lacking = "the teacher's embeddings: give teacher_size="
        if lacking:
            raise FacedistillError(f"objective '{self.name}' needs {lacking}")

    def _built(self, student_size: int, teacher_size: int | None) -> Objective:
        providers: dict[str, Provider] = {}
        centres = self.class_centres
        if centres is not None:
            known = centres
            providers = {
                "run.class_centres": lambda: known,
                "run.neighbours": lambda count: Neighbours(
                    known, *nearest(known, min(count, len(known) - 1))
                ),
            }
        context = _EmbeddingsAlone(student_size, teacher_size, self.identities, providers)
        return create_objective(self.name, context, **self.options)

    def _built_for(self, student: torch.Tensor, teacher: torch.Tensor | None) -> Objective:
        sizes = student.shape[1], None if teacher is None else teacher.shape[1]
        made = self._built(*sizes)
        if any(weight.requires_grad for weight in made.parameters()):
            raise FacedistillError(
                f"objective '{self.name}' has weights that train: give student_size: {sizes[0]} "
                f"and teacher_size: {sizes[1]}, so that an optimiser finds them"
            )
        return made.to(student.device).train(self.training)

    def _check(self, teacher: torch.Tensor | None, labels: torch.Tensor | None) -> None:
        if teacher is None and "teacher.embedding" in self._needs:
            raise FacedistillError(
                f"objective '{self.name}' needs the teacher's embeddings: give teacher_embeddings="
            )
        if labels is None and "run.identities" in self._needs:
            raise FacedistillError(f"objective '{self.name}' needs labels: give labels=")


def loss(
    name: str,
    *,
    student_size: int | None = None,
    teacher_size: int | None = None,
    identities: int = 0,
    class_centres: torch.Tensor | None = None,
    **options: Any,
) -> StandaloneLoss:
    """Return a method's loss as a module: `loss(student_embeddings, teacher_embeddings)`.

    Args:
        name: A registered name, such as `fcd`, `rkd_distance` or `sp`; see `objective_names`.
        student_size: D; where it is left out, sizes are those of the first batch.
        teacher_size: E; None for a method without a teacher.
        identities: M, number of classes, for methods of labelled faces.
        class_centres: float32 (M, E), the teacher's unit mean embedding of each identity, for
            methods that take class centres or mine similar identities (`arcdistill`, `rad`).
        **options: The method's own.

    Raises:
        FacedistillError: If name or options are unknown, the method reads more than embeddings, or
            an argument that it needs is left out.
    """
    sizes = None if student_size is None else (student_size, teacher_size)
    return StandaloneLoss(name, sizes, identities, class_centres, options)


def _batch(embeddings: torch.Tensor, labels: torch.Tensor | None) -> Batch:
    count, device = len(embeddings), embeddings.device
    return Batch(
        images=torch.zeros(count, 1, 1, 3, dtype=torch.uint8, device=device),
        labels=torch.full((count,), -1, device=device) if labels is None else labels,
        flipped=torch.zeros(count, dtype=torch.bool, device=device),
        keys=np.zeros((count, KEY_BYTES), np.uint8),
    )
