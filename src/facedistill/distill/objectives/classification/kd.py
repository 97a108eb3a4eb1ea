"""Soft targets: the student's class distribution follows the teacher's."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs, embedding_of


def soft_target_loss(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    """Return tau^2 KL(softmax(teacher/tau) || softmax(student/tau)), mean over the batch."""
    target = F.log_softmax(at_least_float32(teacher) / tau, dim=1)
    of_student = F.log_softmax(at_least_float32(student) / tau, dim=1)
    return tau**2 * F.kl_div(of_student, target, reduction="batchmean", log_target=True)


@objective("kd")
class SoftTargets(Objective):
    """tau^2 KL(p_t^tau || p_s^tau) on logits without margin, mean over the batch.

    Source: Hinton, Vinyals and Dean, 2015. The student's logits are those of the run's classifier
    (the recipe needs `margin_softmax` beside `kd`), or of a linear layer that `kd` learns for
    itself. A bank's logits are s cos(f_t, prototype); a network that was trained here has the class
    head of its run's folder.

    Args:
        context: What it may ask of the run.
        tau: Temperature, > 0.
        own_head: Learn a linear layer from the student's embedding to the teacher's classes. For
            tasks that do not classify and for data with other labels than the teacher's, or none:
            it needs neither labels nor a class loss.
    """

    def __init__(self, context: RunContext, *, tau: float = 4.0, own_head: bool = False) -> None:
        super().__init__()
        context.require_teacher()
        if not 0 < tau < math.inf:
            raise ValueError(f"tau is {tau}, it must be above 0 and finite")
        if not isinstance(own_head, bool):
            raise ValueError(f"own_head is {own_head}, it must be true or false")
        self.tau = tau
        self.head: nn.Linear | None = None
        if own_head:
            self.head = nn.Linear(context.student_size, context.teacher_classes)
            asked = {"run.teacher_classes"}
        else:
            context.require_identities()
            asked = {"student.logits", "run.identities"}
        self.needs = frozenset({"student.embedding", "teacher.logits"} | asked)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the share of images on which both name the same identity."""
        logits = self.head(embedding_of(student)) if self.head else student.logits
        assert logits is not None and teacher.logits is not None
        agree = (logits.argmax(1) == teacher.logits.argmax(1)).float().mean()
        return soft_target_loss(logits, teacher.logits, self.tau), {"agreement": agree}
