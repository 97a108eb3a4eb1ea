"""Verification learned from comparisons: the triplet loss and which triplets it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs, embedding_of

_SHORTEST = 1e-12
"""Least squared distance under a root, whose slope at 0 is infinite."""


def distances(embedding: torch.Tensor, squared: bool) -> torch.Tensor:
    """Return (B, B) Euclidean distances of L2-normalised rows, or their squares 2 (1 - cos)."""
    unit = F.normalize(at_least_float32(embedding), dim=1)
    # Autocast would multiply in half precision.
    with torch.autocast(unit.device.type, enabled=False):
        between = (2 - 2 * unit @ unit.T).clamp_min(0)
    return between if squared else between.clamp_min(_SHORTEST).sqrt()


def batch_hard(distance: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return d(a, p) and d(a, n), each (T,): of every anchor its farthest p and its nearest n.

    Anchors without a positive or without a negative are left out.

    Args:
        distance: (B, B).
        labels: int64 (B,).
    """
    positive, negative = _relations(labels)
    whole = positive.any(dim=1) & negative.any(dim=1)
    farthest = distance.masked_fill(~positive, float("-inf")).amax(dim=1)
    nearest = distance.masked_fill(~negative, float("inf")).amin(dim=1)
    return farthest[whole], nearest[whole]


def semi_hard(distance: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return d(a, p) and d(a, n), each (T,): of every (a, p) the nearest n that is farther than p.

    Where no negative is farther than the positive, the farthest negative is taken. Pairs whose
    anchor has no negative are left out. Source: Schroff et al., FaceNet (CVPR 2015).

    Args:
        distance: (B, B).
        labels: int64 (B,).
    """
    positive, negative = _relations(labels)
    anchor, other = (positive & negative.any(dim=1, keepdim=True)).nonzero(as_tuple=True)
    near = distance[anchor, other]
    rows, allowed = distance[anchor], negative[anchor]
    farther = allowed & (rows > near[:, None])
    nearest = rows.masked_fill(~farther, float("inf")).amin(dim=1)
    farthest = rows.masked_fill(~allowed, float("-inf")).amax(dim=1)
    return near, torch.where(farther.any(dim=1), nearest, farthest)


def all_triplets(distance: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return d(a, p) and d(a, n), each (T,), of every valid triplet of the batch.

    Args:
        distance: (B, B).
        labels: int64 (B,).
    """
    positive, negative = _relations(labels)
    anchor, other = positive.nonzero(as_tuple=True)
    pair, impostor = negative[anchor].nonzero(as_tuple=True)
    anchor = anchor[pair]
    return distance[anchor, other[pair]], distance[anchor, impostor]


def _relations(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Which pairs (B, B) are of one identity, an image with itself excepted, and which of two."""
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~itself, ~same


@objective("triplet")
class Triplet(Objective):
    """[d(a, p) - d(a, n) + margin]_+ on L2-normalised embeddings.

    Sources: FaceNet (Schroff et al., CVPR 2015), Hermans et al. (arXiv 1703.07737), as the
    verification task of Wang, Lan and Zhang (arXiv 1709.02929). Triplets are of one micro-batch,
    of all processes: `data.images_per_person` sees to it that there are such. Mean over the
    triplets looked at; with `all` over the active ones only, since almost all others cost nothing.

    Args:
        context: What it may ask of the run.
        margin: Of the distances, 0.2 in the papers; > 0.
        sampling: `batch_hard` (each anchor's farthest positive and nearest negative), `semi_hard`
            (each positive pair's nearest negative beyond the positive, else the farthest) or `all`.
        squared: d is the squared distance 2 (1 - cos), 0 to 4, as FaceNet has it; else the plain
            one, 0 to 2, with which `batch_hard` is less likely to collapse.
    """

    needs = frozenset({"student.embedding", "run.identities", "run.images_per_identity"})

    def __init__(
        self,
        context: RunContext,
        *,
        margin: float = 0.2,
        sampling: Literal["batch_hard", "semi_hard", "all"] = "semi_hard",
        squared: bool = True,
    ) -> None:
        super().__init__()
        context.require_identities()
        if not 0 < margin <= 4:
            raise ValueError(f"margin is {margin}, it must be above 0 and at most 4")
        self.margin, self.sampling, self.squared = margin, sampling, squared

    @classmethod
    def check(cls, context: RunContext, options: Mapping[str, Any]) -> None:
        """Refuse batches that hardly ever show an identity twice."""
        context.get("run.images_per_identity")

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, how many triplets it looked at, and the share that is active."""
        of_student, labels = gathered(at_least_float32(embedding_of(student)), batch.labels)
        between = distances(of_student, self.squared)
        sample = {"batch_hard": batch_hard, "semi_hard": semi_hard, "all": all_triplets}
        near, far = sample[self.sampling](between, labels)
        costs = (near - far + self.margin).clamp_min(0)
        active = (costs.detach() > 0).sum()
        counted = active if self.sampling == "all" else torch.tensor(len(costs))
        loss = costs.sum() / counted.to(costs.device).clamp_min(1)
        parts = {"active": active / max(1, len(costs)), "triplets": between.new_tensor(len(costs))}
        return loss, parts
