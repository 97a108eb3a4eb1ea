"""Hints: the student's pixel features are the teacher's, pixel by pixel."""

from __future__ import annotations

import torch
from torch import nn
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


@objective("fitnet")
class Hints(Objective):
    """Mean squared difference of pixel features, over images, pixels and channels.

    The student's features go through a learned linear map (a 1 x 1 convolution) to the teacher's
    channels. Where the grids differ in size both are brought to the smaller one. Prompts have no
    place on the face and are left out.

    Source: FitNets (Romero et al., ICLR 2015), whose hint is a map in the middle of the network, as
    it is: `stage: 2, normalise: false`, say. Between a Transformer and a CNN it is what unified
    receptive fields (`urfm`) improve on: pixels of the same place do not see the same part of the
    face.

    Args:
        context: What it may ask of the run.
        normalise: Standardise the teacher's channels of each pixel to mean 0 and variance 1, so
            that a weight means the same with every teacher. The source does not.
        stage: At the end of which stage the hint is, counted from the last one, which is 1; a
            Transformer tells no other.
    """

    def __init__(self, context: RunContext, *, normalise: bool = True, stage: int = 1) -> None:
        super().__init__()
        self.student, self.teacher = context.pixel_features
        common = min(self.student.stages, self.teacher.stages)
        if not 1 <= stage <= common:
            raise ValueError(f"stage is {stage}, and both networks tell those from 1 to {common}")
        self.normalise, self.stage = normalise, stage
        if stage == 1:
            of_student, target = self.student.channels, self.teacher.channels
            outputs = f"student.{self.student.output}", f"teacher.{self.teacher.output}"
        else:
            of_student, target = (
                each.stage_channels[-stage] for each in (self.student, self.teacher)
            )
            outputs = "student.stage_maps", "teacher.stage_maps"
        self.needs = frozenset({*outputs, "run.pixel_features"})
        self.project = nn.Conv2d(of_student, target, 1)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss; it has no parts."""
        of_student, target = self._hint(student, self.student), self._hint(teacher, self.teacher)
        side = min(of_student.shape[-1], target.shape[-1])
        of_student = at_least_float32(self.project(at_least_float32(resampled(of_student, side))))
        target = at_least_float32(resampled(target, side))
        if self.normalise:
            channels = target.movedim(1, -1)
            target = F.layer_norm(channels, channels.shape[-1:]).movedim(-1, 1)
        return F.mse_loss(of_student, target), {}

    def _hint(self, outputs: Outputs, pixels: PixelFeatures) -> torch.Tensor:
        """The (B, C, H, H) map that is compared."""
        if self.stage == 1:
            return pixels.grid(outputs)
        assert outputs.stage_maps is not None, "`needs` asks for them"
        return outputs.stage_maps[-self.stage]
