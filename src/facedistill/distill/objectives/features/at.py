"""Attention transfer: the student looks at a face where the teacher looks."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.cross_architecture.pixel_features import (
    PixelFeatures,
    resampled,
)
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs


def attention(grid: torch.Tensor, side: int) -> torch.Tensor:
    """Return (B, side^2) of length 1: the mean square of a (B, C, H, H) map's channels."""
    energy = at_least_float32(grid).square().mean(dim=1, keepdim=True)
    return F.normalize(resampled(energy, side).flatten(1), dim=1)


@objective("at")
class AttentionTransfer(Objective):
    """Squared difference of the networks' attention maps, mean over images and pixels, by stages.

    A map is the mean square over the channels of the features at the end of a stage, of length 1
    over the pixels; where the grids differ in size both are brought to the smaller one. Stages are
    paired from the last one back, as many as both networks tell (a Transformer its last alone), and
    summed over. A stage's range is 0 to 2 over its number of pixels, of the last 49 mostly. The
    source's weight of 1000 is for such means and sums.

    Source: Zagoruyko and Komodakis, "Paying More Attention to Attention" (ICLR 2017), activations.

    Args:
        context: What it may ask of the run.
        stages: Most stages to compare, 1 for the last alone; None for all that both tell.
    """

    def __init__(self, context: RunContext, *, stages: int | None = None) -> None:
        super().__init__()
        if stages is not None and stages < 1:
            raise ValueError(f"stages is {stages}, not 1 or more")
        self.student, self.teacher = context.pixel_features
        common = min(self.student.stages, self.teacher.stages)
        self.stages = common if stages is None else min(stages, common)
        of_student, target = (
            ("stage_maps", "stage_maps")
            if self.stages > 1
            else (self.student.output, self.teacher.output)
        )
        self.needs = frozenset({f"student.{of_student}", f"teacher.{target}", "run.pixel_features"})

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss; of several stages its parts are `last`, `last_1` before it, ..."""
        grids = zip(
            self._grids(student, self.student), self._grids(teacher, self.teacher), strict=True
        )
        losses = [_difference(of_student, target) for of_student, target in grids]
        parts = {f"last_{i}" if i else "last": loss.detach() for i, loss in enumerate(losses)}
        return torch.stack(losses).sum(), parts if self.stages > 1 else {}

    def _grids(self, outputs: Outputs, pixels: PixelFeatures) -> list[torch.Tensor]:
        """The maps at the ends of the stages that are compared, the last first."""
        if self.stages == 1:
            return [pixels.grid(outputs)]
        assert outputs.stage_maps is not None, "`needs` asks for them"
        return outputs.stage_maps[: -self.stages - 1 : -1]


def _difference(of_student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    side = min(of_student.shape[-1], target.shape[-1])
    return (attention(of_student, side) - attention(target, side)).square().mean()
