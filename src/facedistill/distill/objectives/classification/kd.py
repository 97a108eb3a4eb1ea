"""Soft targets: the student's class distribution follows the teacher's."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective, Setting, objective
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.models.comparison_embedding import embedding_of
from facedistill.models.outputs import Outputs


def soft_target_loss(student: torch.Tensor, teacher: torch.Tensor, tau: float) -> torch.Tensor:
    """Return tau^2 KL(softmax(teacher/tau) || softmax(student/tau)), mean over the batch."""
    target = F.log_softmax(at_least_float32(teacher) / tau, dim=1)
    ours = F.log_softmax(at_least_float32(student) / tau, dim=1)
    return tau**2 * F.kl_div(ours, target, reduction="batchmean", log_target=True)


@objective("kd")
class SoftTargets(Objective):
    """tau^2 KL(p_t^tau || p_s^tau) on logits without margin, mean over the batch.

    Source: Hinton, Vinyals and Dean, 2015. The student's logits are those of the run's classifier
    (the recipe needs `margin_softmax` beside `kd`), or of a linear layer that `kd` learns for
    itself. A bank's logits are s cos(f_t, prototype); a network that was trained here has the class
    head of its run's folder.

    Args:
        setting: Facts about the run.
        tau: Temperature, > 0.
        own_head: Learn a linear layer from the student's embedding to the teacher's classes. For
            tasks that do not classify and for data with other labels than the teacher's, or none.
    """

    def __init__(self, setting: Setting, *, tau: float = 4.0, own_head: bool = False) -> None:
        super().__init__()
        setting.require_teacher("kd")
        if not 0 < tau < math.inf:
            raise ValueError(f"tau is {tau}, it must be above 0 and finite")
        if not isinstance(own_head, bool):
            raise ValueError(f"own_head is {own_head}, it must be true or false")
        self.tau = tau
        self.head: nn.Linear | None = None
        logits = {"student.logits"}
        if own_head:
            if setting.teacher_classes is None:
                raise ValueError(
                    "the teacher has no classes to follow: give the folder of a run that "
                    "classified, or a bank of labelled data"
                )
            self.head = nn.Linear(setting.student_size, setting.teacher_classes)
            logits = set()
        else:
            setting.require_labels("kd")
        self.needs = frozenset({"student.embedding", "teacher.logits"} | logits)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the share of images on which both name the same identity."""
        logits = self.head(embedding_of(student)) if self.head else student.logits
        assert logits is not None and teacher.logits is not None
        agree = (logits.argmax(1) == teacher.logits.argmax(1)).float().mean()
        return soft_target_loss(logits, teacher.logits, self.tau), {"agreement": agree}
