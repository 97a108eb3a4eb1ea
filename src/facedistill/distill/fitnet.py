"""Hints: the student's pixel features are the teacher's, pixel by pixel."""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objective import Loss, Objective, Setting, objective
from facedistill.distill.pixel_features import resampled
from facedistill.distill.precision import at_least_float32
from facedistill.models.outputs import Outputs


@objective("fitnet")
class Hints(Objective):
    """Mean squared difference of the last pixel features, over images, pixels and channels.

    The student's features go through a learned linear map (a 1 x 1 convolution) to the teacher's
    channels. Where the grids differ in size both are brought to the smaller one. Prompts have no
    place on the face and are left out.

    Source: FitNets (Romero et al., ICLR 2015), with the last map as hint. Between a Transformer and
    a CNN it is what unified receptive fields (`urfm`) improve on: pixels of the same place do not
    see the same part of the face.

    Args:
        setting: Facts about the run.
        normalise: Standardise the teacher's channels of each pixel to mean 0 and variance 1, so
            that a weight means the same with every teacher.
    """

    def __init__(self, setting: Setting, *, normalise: bool = True) -> None:
        super().__init__()
        self.student, self.teacher = setting.require_pixels("fitnet")
        self.needs = frozenset({f"student.{self.student.output}", f"teacher.{self.teacher.output}"})
        self.normalise = normalise
        self.side = min(self.student.side, self.teacher.side)
        self.project = nn.Conv2d(self.student.channels, self.teacher.channels, 1)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss; it has no parts."""
        ours = at_least_float32(self.project(resampled(self.student.grid(student), self.side)))
        theirs = at_least_float32(resampled(self.teacher.grid(teacher), self.side))
        if self.normalise:
            channels = theirs.movedim(1, -1)
            theirs = F.layer_norm(channels, channels.shape[-1:]).movedim(-1, 1)
        return F.mse_loss(ours, theirs), {}
