"""Evaluation-oriented distillation: the pairs on which the two networks' error rates differ."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.batch_relation import cosines
from facedistill.models.outputs import Outputs, embedding_of

RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""False positive rates at which thresholds are kept."""


def thresholds_at(negatives: torch.Tensor) -> torch.Tensor:
    """Return (6,): the cosines that a share `RATES` of the (N,) negatives' exceeds; N >= 1."""
    ordered = negatives.sort(descending=True).values
    return torch.stack([ordered[int(rate * len(ordered))] for rate in RATES])


def soft_counts(cosine: torch.Tensor, thresholds: torch.Tensor, tau: float) -> torch.Tensor:
    """Return (N,), sum over thresholds of sigmoid((cos - threshold) / tau): 0 to 6."""
    return torch.sigmoid((cosine[:, None] - thresholds.to(cosine.dtype)) / tau).sum(dim=1)


@objective("ekd")
class EvaluationOriented(Objective):
    """Squared difference of how many thresholds a pair passes, each network having its own.

    A network's thresholds are those of the pairs of different identities in the batch at false
    positive rates 1e-1 to 1e-6, as running means; a batch of n such pairs knows no rate below 1/n
    and gives its largest cosine for it. The count of a pair is soft, see `soft_counts`. Mean over
    all positive pairs times `positive`, plus mean over the hardest negative pairs, by the student,
    times `negative`; 0 to 36 each. Pairs are of the micro-batch, of all processes: few are positive
    unless a batch has whole identities, so it is better with `data.images_per_person`.

    Running means start at the first batch's thresholds; in the authors' program they start at 0.

    Source: Huang et al., "Evaluation-Oriented Knowledge Distillation for Deep Face Recognition"
    (CVPR 2022).

    Args:
        context: What it may ask of the run.
        positive: Weight of pairs of one identity, 0 or more.
        negative: Weight of pairs of two identities, 0 or more.
        tau: Temperature of the sigmoid, > 0.
        hardest: Most negative pairs looked at.
        momentum: Share of a new batch in the thresholds, above 0 and at most 1.
    """

    needs = frozenset({"student.embedding", "teacher.embedding", "run.identities"})
    student_thresholds: torch.Tensor
    teacher_thresholds: torch.Tensor
    started: torch.Tensor

    def __init__(
        self,
        context: RunContext,
        *,
        positive: float = 0.02,
        negative: float = 0.01,
        tau: float = 0.01,
        hardest: int = 2000,
        momentum: float = 0.01,
    ) -> None:
        super().__init__()
        context.require_teacher()
        context.require_identities()
        if min(positive, negative) < 0:
            raise ValueError(f"positive and negative are {positive} and {negative}: not below 0")
        if not 0 < tau <= 1:
            raise ValueError(f"tau is {tau}, it must be above 0 and at most 1")
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum is {momentum}, it must be above 0 and at most 1")
        if hardest < 1:
            raise ValueError(f"hardest is {hardest}, it must be 1 or more")
        self.positive, self.negative = positive, negative
        self.tau, self.hardest, self.momentum = tau, hardest, momentum
        self.register_buffer("student_thresholds", torch.zeros(len(RATES)))
        self.register_buffer("teacher_thresholds", torch.zeros(len(RATES)))
        self.register_buffer("started", torch.tensor(False))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and its two means."""
        both = (at_least_float32(embedding_of(outputs)) for outputs in (student, teacher))
        of_student, target, labels = gathered(*both, batch.labels)
        # Autocast would multiply in half precision.
        with torch.autocast(of_student.device.type, enabled=False):
            of_student, target = cosines(of_student), cosines(target)
        same = labels[:, None] == labels
        once = torch.ones_like(same).triu(diagonal=1)
        impostors = once & ~same
        if self.training:
            self._follow(of_student[impostors].detach(), target[impostors])
        positive = self._difference(of_student[once & same], target[once & same])
        hard = of_student[impostors].topk(min(self.hardest, int(impostors.sum()))).indices
        negative = self._difference(of_student[impostors][hard], target[impostors][hard])
        parts = {"positive": positive.detach(), "negative": negative.detach()}
        return self.positive * positive + self.negative * negative, parts

    def _difference(self, of_student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean over pairs; 0 without one."""
        counts = soft_counts(of_student, self.student_thresholds, self.tau)
        targets = soft_counts(target, self.teacher_thresholds, self.tau)
        return F.mse_loss(counts, targets, reduction="sum") / max(1, len(of_student))

    @torch.no_grad()
    def _follow(self, of_student: torch.Tensor, target: torch.Tensor) -> None:
        if len(of_student) == 0:
            return
        for kept, cosine in (
            (self.student_thresholds, of_student),
            (self.teacher_thresholds, target),
        ):
            new = thresholds_at(cosine).to(kept.dtype)
            kept.copy_(torch.where(self.started, kept.lerp(new, self.momentum), new))
        self.started.fill_(True)
