"""Grouped knowledge distillation: soft targets of the classes that matter."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.classification.kd import soft_target_loss
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import mean_of_processes
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.models.heads.margin import LARGEST_COSINE
from facedistill.models.outputs import Outputs

Groups = Literal["image", "batch"]

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


def group_of_batch_size(
    logits: torch.Tensor, labels: torch.Tensor, share: float, step: int
) -> torch.Tensor:
    """Return bool (B, M): each image's own class and its K likeliest, K the same for all images.

    K is the least multiple of `step` whose likeliest classes have the share in the mean over the
    batch of all processes, at most M.

    Args:
        logits: The student's (B, M); their probabilities are not softened.
        labels: int64 (B,).
        share: Probability that the groups have at least in the mean.
        step: Classes by which K grows, 1 or more.
    """
    likely, order = F.softmax(at_least_float32(logits), dim=1).sort(dim=1, descending=True)
    images = mean_of_processes(likely.new_tensor(float(len(likely))))
    mean = mean_of_processes(likely.sum(dim=0)) / images
    size = (mean.cumsum(dim=0) - mean < share).sum()
    size = (size + step - 1).div(step, rounding_mode="floor") * step
    ranks = torch.arange(likely.shape[1], device=likely.device).expand_as(order)
    group = torch.zeros_like(likely, dtype=torch.bool).scatter(1, order, ranks < size)
    return group.scatter(1, labels[:, None], True)


def with_angular_margin(
    logits: torch.Tensor, labels: torch.Tensor, margin: float, scale: float
) -> torch.Tensor:
    """Return logits (B, M) of which the own class's angle is larger by the margin, at most pi.

    Args:
        logits: (B, M), `scale` times a cosine each.
        labels: int64 (B,).
        margin: Radians.
        scale: What multiplies the cosines.
    """
    own = logits.gather(1, labels[:, None]) / scale
    angle = torch.arccos(own.clamp(-LARGEST_COSINE, LARGEST_COSINE))
    harder = scale * torch.cos((angle + margin).clamp_max(math.pi))
    return logits.scatter(1, labels[:, None], harder)


@objective("gkd")
class GroupedSoftTargets(Objective):
    """primary KL(p_t || p_s inside the group) + binary KL(mass of the group), times tau^2.

    The group is an image's own class and those likeliest by the student; probabilities inside it
    are scaled to sum 1, the rest is dropped. Mean over the batch; 0 to infinity.

    By default groups are of each image, by its softened probabilities, and logits are without
    margin, as the paper's abstract describes it. The authors' public code differs, and is had by
    `groups: batch`, a margin on the logits of both networks (`margin: 0.5`, `scale` as in
    `margin_softmax`) and a weight that rises over the first ten epochs (`warmup`).

    Source: Zhao et al., "Grouped Knowledge Distillation for Deep Face Recognition" (AAAI 2023). The
    student's logits are those of the run's classifier, the teacher's as in `kd`.

    Args:
        context: What it may ask of the run.
        tau: Temperature, > 0.
        share: Probability that a group has, above 0 and below 1.
        primary: Weight of the classes inside the group, 0 or more.
        binary: Weight of group against rest, 0 or more.
        groups: `image`: each image's group reaches the share; `batch`: all images of a batch have
            groups of one size that reaches it in the mean, by probabilities that are not softened.
        step: Classes by which the group of a batch grows, 1 or more.
        margin: Radians added to the angle of the own class in the logits of both networks, 0 to
            below pi / 2.
        scale: What multiplies cosines in both networks' logits; used by the margin only.
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
        groups: Groups = "image",
        step: int = 100,
        margin: float = 0.0,
        scale: float = 64.0,
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
        if step < 1:
            raise ValueError(f"step is {step}, it must be 1 or more")
        if not 0 <= margin < math.pi / 2:
            raise ValueError(f"margin is {margin}, it must be from 0 to below pi / 2")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale}, it must be above 0 and finite")
        self.tau, self.share = tau, share
        self.primary, self.binary = primary, binary
        self.groups, self.step = groups, step
        self.margin, self.scale = margin, scale

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, its two terms, and the mean share of classes in a group."""
        assert student.logits is not None and teacher.logits is not None
        of_student, target = (
            self._with_margin(at_least_float32(logits), batch.labels)
            for logits in (student.logits, teacher.logits)
        )
        group = self._group(of_student.detach(), batch.labels)
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

    def _group(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self.groups == "batch":
            return group_of_batch_size(logits, labels, self.share, self.step)
        return primary_group(logits, labels, self.tau, self.share)

    def _with_margin(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if not self.margin:
            return logits
        return with_angular_margin(logits, labels, self.margin, self.scale)


def _log_masses(logits: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Logarithms (2, B) of the probabilities of group and rest, exact however small one is."""
    parts = [logits.masked_fill(~part, _OUTSIDE).logsumexp(dim=1) for part in (group, ~group)]
    return torch.stack(parts) - logits.logsumexp(dim=1)


def _divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL of two distributions given by the logarithms (2, B) of group and rest, batch mean."""
    return (p.exp() * (p - q)).sum(dim=0).mean()
