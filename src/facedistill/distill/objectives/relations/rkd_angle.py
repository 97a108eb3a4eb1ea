"""Relational knowledge distillation by angles: the triangles that the images of a batch form."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.batch_relation import LengthOrDirection, others

_AT_ONCE = 1 << 24
"""Most numbers of a chunk of triplets."""
_SHORTEST = 1e-4
"""Least distance that is divided by; below it a direction is rounding, and its gradient huge."""


def angle_cosines(embedding: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
    """Return (V, B, B): the cosine of the angle at each vertex between images j and k.

    Args:
        embedding: (B, D).
        vertices: (V, D), some of its rows.
    """
    directions = F.normalize(embedding - vertices[:, None], dim=2, eps=_SHORTEST)
    return directions @ directions.mT


@objective("rkd_angle")
class RelationalAngle(LengthOrDirection):
    """Smooth L1 of the cosines of the angles in all triangles of the batch.

    Mean over triplets of different images (published code counts those of fewer too). Range 0 to
    1.5; weight 50 in the paper. Time and memory grow with B^3: triplets are looked at in chunks,
    which are computed once more for the gradient.

    Source: Park, Kim, Lu and Cho, "Relational Knowledge Distillation" (CVPR 2019), RKD-A.

    Args:
        context: What it may ask of the run.
        normalise: Compare unit vectors, as faces are compared.
    """

    def difference(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss of (B, D) and (B, E) embeddings; 0 without a triangle."""
        count = len(student)
        size = max(1, _AT_ONCE // (count * (count + student.shape[1] + teacher.shape[1])))
        total = student.new_zeros(())
        for start in range(0, count, size):
            vertices = slice(start, start + size)
            total = total + checkpoint(
                _angle_difference,
                student,
                teacher,
                vertices,
                use_reentrant=False,
                preserve_rng_state=False,
            )
        return total / max(1, count * (count - 1) * (count - 2))


def _angle_difference(
    student: torch.Tensor, teacher: torch.Tensor, vertices: slice
) -> torch.Tensor:
    """Sum over the triplets whose vertex is one of `vertices`."""
    of_student, target = (angle_cosines(x, x[vertices]) for x in (student, teacher))
    # Directions from a vertex to itself are 0 in both, so only j = k has to be left out.
    return (F.smooth_l1_loss(of_student, target, reduction="none") * others(of_student[0])).sum()
