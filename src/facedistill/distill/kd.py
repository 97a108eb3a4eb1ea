"""Soft targets: the student's class distribution follows the teacher's."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objective import Loss, Objective, Setting, objective
from facedistill.distill.precision import at_least_float32
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
    (the recipe needs `margin_softmax` beside `kd`); a bank's logits are s cos(f_t, prototype).

    Args:
        setting: Facts about the run.
        tau: Temperature, > 0.
    """

    needs = frozenset({"student.embedding", "student.logits", "teacher.logits"})

    def __init__(self, setting: Setting, *, tau: float = 4.0) -> None:
        super().__init__()
        setting.require_teacher("kd")
        setting.require_labels("kd")
        if not 0 < tau < math.inf:
            raise ValueError(f"tau is {tau}, it must be above 0 and finite")
        self.tau = tau

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the share of images on which both name the same identity."""
        assert student.logits is not None and teacher.logits is not None
        agree = (student.logits.argmax(1) == teacher.logits.argmax(1)).float().mean()
        return soft_target_loss(student.logits, teacher.logits, self.tau), {"agreement": agree}
