"""Attention transfer: the student looks at a face where the teacher looks."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objective import Loss, Objective, Setting, objective
from facedistill.distill.pixel_features import resampled
from facedistill.distill.precision import at_least_float32
from facedistill.models.outputs import Outputs


def attention(grid: torch.Tensor, side: int) -> torch.Tensor:
    """Return (B, side^2) of length 1: the mean square of a (B, C, H, H) map's channels."""
    energy = at_least_float32(grid).square().mean(dim=1, keepdim=True)
    return F.normalize(resampled(energy, side).flatten(1), dim=1)


@objective("at")
class AttentionTransfer(Objective):
    """Squared difference of the networks' attention maps, mean over images and pixels.

    A map is the mean square over the channels of the last pixel features, of length 1 over the
    pixels; where the grids differ in size both are brought to the smaller one. Range 0 to 2 over
    the number of pixels, 49 mostly. The source takes the ends of several stages and sums over them,
    with weight 1000 on such means; here it is the last stage.

    Source: Zagoruyko and Komodakis, "Paying More Attention to Attention" (ICLR 2017), activations.

    Args:
        setting: Facts about the run.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.student, self.teacher = setting.require_pixels("at")
        self.needs = frozenset({f"student.{self.student.output}", f"teacher.{self.teacher.output}"})
        self.side = min(self.student.side, self.teacher.side)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss; it has no parts."""
        ours = attention(self.student.grid(student), self.side)
        theirs = attention(self.teacher.grid(teacher), self.side)
        return (ours - theirs).square().mean(), {}
