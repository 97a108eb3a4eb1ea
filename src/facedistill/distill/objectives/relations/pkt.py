"""Probabilistic knowledge transfer: how likely each image is to be the neighbour of another."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.batch_relation import BatchRelation, cosines


def neighbour_log_probabilities(embedding: torch.Tensor) -> torch.Tensor:
    """Return log p_ij (B, B): p_ij = (cos_ij + 1) / 2, over the sum of its row."""
    kernel = (cosines(embedding) + 1) / 2
    # Of opposite embeddings the kernel is 0, and rounding can take it below.
    kernel = kernel.clamp_min(torch.finfo(kernel.dtype).eps)
    return kernel.log() - kernel.sum(dim=1, keepdim=True).log()


@objective("pkt")
class ProbabilisticTransfer(BatchRelation):
    """KL(p_t || p_s) of the neighbour probabilities p_ij = (cos_ij + 1) / 2, rows normalised.

    Sum over j, mean over i, in nats. The kernel is so flat that the value is small, 0.001 to 0.05:
    published code takes the mean over both, which is B times less still.

    Source: Passalis and Tefas (ECCV 2018), with the cosine kernel.

    Args:
        context: What it may ask of the run.
    """

    def compare(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the divergence; 0 to infinity."""
        of_student, target = map(neighbour_log_probabilities, (student, teacher))
        return F.kl_div(of_student, target, reduction="batchmean", log_target=True)
