"""Relational knowledge distillation by distances: how far apart the images of a batch lie."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.batch_relation import LengthOrDirection


def relative_distances(embedding: torch.Tensor) -> torch.Tensor:
    """Return (B, B) Euclidean distances over their mean, that of different images being 1."""
    # The form by products is rounded where faces are close, and has no gradient there.
    between = torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")
    mean = between.sum() / max(1, len(between) * (len(between) - 1))
    return between / mean.clamp_min(torch.finfo(between.dtype).tiny)


@objective("rkd_distance")
class RelationalDistance(LengthOrDirection):
    """Smooth L1 of the pairwise distances, each network's over their own mean.

    Mean over pairs of different images (published code counts an image with itself too: (B - 1)/B
    of this). 0 to infinity, 0.05 to 0.2 for a student that starts; weight 25 in the paper.

    Source: Park, Kim, Lu and Cho, "Relational Knowledge Distillation" (CVPR 2019), RKD-D.

    Args:
        context: What it may ask of the run.
        normalise: Compare unit vectors, as faces are compared.
    """

    def difference(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss of (B, D) and (B, E) embeddings; 0 without a pair."""
        of_student, target = relative_distances(student), relative_distances(teacher)
        count = len(of_student)
        # An image with itself is at 0 in both and costs nothing.
        return F.smooth_l1_loss(of_student, target, reduction="sum") / max(1, count * (count - 1))
