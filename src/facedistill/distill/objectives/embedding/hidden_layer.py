"""Hidden-layer transfer: the student's last hidden layer follows the teacher's."""

from __future__ import annotations

import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.projection import linear_projection
from facedistill.distill.objectives.registry import objective
from facedistill.models.outputs import Outputs


def last_hidden(outputs: Outputs) -> torch.Tensor:
    """Return K, the last spatial map averaged over its positions: (B, C), at least float32.

    Of a ResNet that is the layer before the embedding, exactly. It is what every task's network
    has, whatever its head, so a network for one task can teach a network for another.

    Raises:
        FacedistillError: If the network gave no feature map.
    """
    if outputs.feature_map is None:
        raise FacedistillError("the network gave no feature map")
    return at_least_float32(outputs.feature_map).mean(dim=(2, 3))


def half_squared_distance(of_student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return 1/2 ||target - student||^2, summed over all but the first dimension, mean over it."""
    difference = at_least_float32(target) - at_least_float32(of_student)
    return difference.square().flatten(1).sum(dim=1).mean() / 2


@objective("hidden_layer")
class HiddenLayer(Objective):
    """1/2 ||K_t - r(K_s)||^2, summed over K's dimensions, mean over the batch; beta is the weight.

    Source: Wang, Lan and Zhang (arXiv 1709.02929); FitNets (Romero et al. 2015) is the same on an
    earlier layer. K is the last spatial map averaged over its positions, the teacher's of C_t
    dimensions; r is a learned linear adapter where the widths differ and the identity where they
    agree. The sum grows with C_t: a weight for a teacher of 2048 channels is large for one of 256.

    Args:
        context: What it may ask of the run.
    """

    needs = frozenset({"student.feature_map", "teacher.feature_map", "run.channels"})

    def __init__(self, context: RunContext) -> None:
        super().__init__()
        context.require_teacher()
        self.adapt = linear_projection(*context.channels)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss and the share of the teacher's spread that it leaves unexplained."""
        of_student, target = self.adapt(last_hidden(student)), last_hidden(teacher)
        loss = half_squared_distance(of_student, target)
        spread = half_squared_distance(target.mean(dim=0, keepdim=True), target)
        return loss, {"unexplained": loss.detach() / spread.clamp_min(1e-12)}
