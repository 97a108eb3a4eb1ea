"""Grouped knowledge distillation: soft targets of the classes that matter."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.classification.kd import soft_target_loss
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs

_OUTSIDE = -1e4
"""Logit of a class that is left out: its probability is 0 exactly, in every precision."""


def primary_group(
    logits: torch.Tensor, labels: torch.Tensor, tau: float, share: float
) -> torch.Tensor:
    """Return bool (B, M): each image's own class, and the likeliest until they have the share.

    Args:
        logits: The student's (B, M).
        labels: int64 (B,).
        tau: Temperature of the probabilities.
        share: Probability that the group has at least, the own class not counted in advance.
    """
    likely, order = F.softmax(at_least_float32(logits) / tau, dim=1).sort(dim=1, descending=True)
    # A class is in as long as those before it have not the share yet: the likeliest always is.
    before = likely.cumsum(dim=1) - likely
    group = torch.zeros_like(likely, dtype=torch.bool).scatter(1, order, before < share)
    return group.scatter(1, labels[:, None], True)


@objective("gkd")
class GroupedSoftTargets(Objective):
    """primary KL(p_t || p_s inside the group) + binary KL(mass of the group), times tau^2.

    The group is an image's own class and those likeliest by the student; probabilities inside it
    are scaled to sum 1, the rest is dropped. Mean over the batch; 0 to infinity.

    Groups are of each image, by its softened probabilities, as the paper's abstract describes them;
    public code gives all images of a batch groups of one size, in steps of a hundred classes.

    Source: Zhao et al., "Grouped Knowledge Distillation for Deep Face Recognition" (AAAI 2023). The
    student's logits are those of the run's classifier, the teacher's as in `kd`.

    Args:
        context: What it may ask of the run.
        tau: Temperature, > 0.
        share: Probability that a group has, above 0 and below 1.
        primary: Weight of the classes inside the group, 0 or more.
        binary: Weight of group against rest, 0 or more.
    """

    needs = frozenset(
        {
            "student.embedding",
            "student.logits",
            "teacher.logits",
            "run.identities",
        }
    )

    def __init__(
        self,
        context: RunContext,
        *,
        tau: float = 4.0,
        share: float = 0.93,
        primary: float = 8.0,
        binary: float = 1.0,
    ) -> None:
        super().__init__()
        context.require_teacher()
        context.require_identities()
        if not 0 < tau < math.inf:
            raise ValueError(f"tau is {tau}, it must be above 0 and finite")
        if not 0 < share < 1:
            raise ValueError(f"share is {share}, it must be above 0 and below 1")
        if min(primary, binary) < 0:
            raise ValueError(f"primary and binary are {primary} and {binary}: not below 0")
        self.tau, self.share = tau, share
        self.primary, self.binary = primary, binary

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, its two terms, and the mean share of classes in a group."""
        assert student.logits is not None and teacher.logits is not None
        of_student, target = at_least_float32(student.logits), at_least_float32(teacher.logits)
        group = primary_group(of_student.detach(), batch.labels, self.tau, self.share)
        inside = soft_target_loss(
            of_student.masked_fill(~group, _OUTSIDE * self.tau),
            target.masked_fill(~group, _OUTSIDE * self.tau),
            self.tau,
        )
        mass = self.tau**2 * _divergence(
            _log_masses(target / self.tau, group), _log_masses(of_student / self.tau, group)
        )
        parts = {"primary": inside.detach(), "binary": mass.detach(), "group": group.float().mean()}
        return self.primary * inside + self.binary * mass, parts


def _log_masses(logits: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Logarithms (2, B) of the probabilities of group and rest, exact however small one is."""
    parts = [logits.masked_fill(~part, _OUTSIDE).logsumexp(dim=1) for part in (group, ~group)]
    return torch.stack(parts) - logits.logsumexp(dim=1)


def _divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL of two distributions given by the logarithms (2, B) of group and rest, batch mean."""
    return (p.exp() * (p - q)).sum(dim=0).mean()
