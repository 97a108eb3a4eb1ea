"""MarginDistillation: a larger margin where the teacher is surer of the identity."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss
from facedistill.distill.objectives.classification.fixed_centres import FixedCentres
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.relation import unit
from facedistill.models.outputs import Outputs, embedding_of


def add_margins(cosine: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """Return cos(theta + m), and cos theta - m sin m where theta + m exceeds pi; all (B,)."""
    angular = torch.cos(torch.arccos(cosine) + margins)
    past = cosine <= -torch.cos(margins)
    return torch.where(past, cosine - margins * torch.sin(margins), angular)


@objective("margin_distillation")
class MarginDistillation(FixedCentres):
    """ArcFace on the teacher's frozen class centres, with a margin of its own for each image.

    m_i = m_min + (m_max - m_min) D_i / max_j D_j, with D_i = cos(f_t_i, w_{y_i}) of the teacher
    and the maximum over the batch of all processes. A negative D_i, which the source lets lower
    the margin further, counts as 0. Centres are the teacher's means, as in `arcdistill`. Mean over
    the batch; 0 to infinity.

    Source: Svitov and Alyamkin, "MarginDistillation" (arXiv 2003.02586).

    Args:
        context: What it may ask of the run.
        scale: s, of the logits.
        smallest: m_min in radians, 0 or more.
        largest: m_max in radians, below pi/2.
        projection: Allow a learned linear map on the student side where the dimensions differ.
    """

    needs = FixedCentres.needs | {"run.class_centres"}

    def __init__(
        self,
        context: RunContext,
        *,
        scale: float = 64.0,
        smallest: float = 0.2,
        largest: float = 0.5,
        projection: bool = True,
    ) -> None:
        super().__init__(context, "softmax", projection, scale=scale)
        if not 0 <= smallest <= largest < math.pi / 2:
            raise ValueError(
                f"margins are {smallest} and {largest}: 0 <= smallest <= largest < pi/2 must hold"
            )
        self.smallest, self.largest = smallest, largest
        self.head.weight.copy_(context.class_centres)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, the share classified right in spite of the margin, the mean margin."""
        margins = self.margins(embedding_of(teacher), batch.labels)
        cosine = self.head.cosine(self.projected(student))
        index = batch.labels[:, None]
        own = add_margins(cosine.gather(1, index)[:, 0], margins.to(cosine.dtype))
        logits = self.head.scale * cosine.scatter(1, index, own[:, None])
        right = (logits.argmax(1) == batch.labels).float().mean()
        return F.cross_entropy(logits, batch.labels), {"accuracy": right, "margin": margins.mean()}

    @torch.no_grad()
    def margins(self, embedding: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return m_i (B,) of the teacher's embeddings (B, E)."""
        centres = self.head.weight[labels]
        sure = (unit(embedding) * unit(centres)).sum(dim=1).clamp_min(0)
        (whole,) = gathered(sure)
        share = sure / whole.max().clamp_min(torch.finfo(sure.dtype).tiny)
        return self.smallest + (self.largest - self.smallest) * share
