"""Correlation congruence: kernels of pairs of images, beyond the linear one."""

from __future__ import annotations

import math

import torch

from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.batch_relation import BatchRelation, cosines


def gaussian_kernel(embedding: torch.Tensor, gamma: float, order: int) -> torch.Tensor:
    """Return (B, B), sum over p = 0..order of e^{-2 gamma} (2 gamma)^p / p! cos^p.

    That is the Gaussian kernel exp(-gamma |a - b|^2) of unit vectors, by its Taylor series.
    """
    similar = cosines(embedding)
    terms = [(2 * gamma) ** p / math.factorial(p) * similar**p for p in range(order + 1)]
    return math.exp(-2 * gamma) * torch.stack(terms).sum(dim=0)


@objective("cckd")
class CorrelationCongruence(BatchRelation):
    """Mean over all pairs of the squared difference of the kernels, see `gaussian_kernel`.

    An image with itself counts and costs nothing. Range 0 to 1, 0.002 to 0.02 for a student that
    starts; which weight the paper gives to this mean is not known here.

    Source: Peng et al., "Correlation Congruence for Knowledge Distillation" (ICCV 2019).

    Args:
        context: What it may ask of the run.
        gamma: Of the kernel, above 0 and at most 10.
        order: Highest power p, 1 to 10.
    """

    def __init__(self, context: RunContext, *, gamma: float = 0.4, order: int = 2) -> None:
        super().__init__(context)
        if not 0 < gamma <= 10:
            raise ValueError(f"gamma is {gamma}, it must be above 0 and at most 10")
        if not 1 <= order <= 10:
            raise ValueError(f"order is {order}, it must be in 1..10")
        self.gamma, self.order = gamma, order

    def compare(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss."""
        of_student, target = (
            gaussian_kernel(x, self.gamma, self.order) for x in (student, teacher)
        )
        return (of_student - target).square().mean()
