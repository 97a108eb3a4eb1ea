"""What methods have in common that compare how the images of a batch lie to each other."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import gathered
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.models.outputs import Outputs, embedding_of


class BatchRelation(Objective):
    """An objective on the embeddings of a micro-batch, of all processes together.

    The two embeddings may differ in dimension: only relations within each are compared.

    Args:
        context: What it may ask of the run.
    """

    needs = frozenset({"student.embedding", "teacher.embedding"})

    def __init__(self, context: RunContext) -> None:
        super().__init__()
        context.require_teacher()

    def compared(self, student: Outputs, teacher: Outputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what of both networks is compared, (B, D) and (B, E): the embeddings."""
        return embedding_of(student), embedding_of(teacher)

    @abstractmethod
    def compare(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss, outside autocast.

        Args:
            student: (B, D) in float32 or float64, not normalised.
            teacher: (B, E).
        """

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss; it has no parts."""
        of_student, target = gathered(*map(at_least_float32, self.compared(student, teacher)))
        # Autocast would multiply in half precision.
        with torch.autocast(of_student.device.type, enabled=False):
            return self.compare(of_student, target), {}


class LengthOrDirection(BatchRelation):
    """A batch relation that compares unit vectors, or embeddings as they are.

    Args:
        context: What it may ask of the run.
        normalise: Compare unit vectors, as faces are compared.
    """

    def __init__(self, context: RunContext, *, normalise: bool = True) -> None:
        super().__init__(context)
        if not isinstance(normalise, bool):
            raise ValueError(f"normalise is {normalise}, it must be true or false")
        self.normalise = normalise

    def compare(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss of the embeddings, of unit length if `normalise` says so."""
        if self.normalise:
            student, teacher = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
        return self.difference(student, teacher)

    @abstractmethod
    def difference(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        """Return the loss of (B, D) and (B, E) embeddings."""


def cosines(embedding: torch.Tensor) -> torch.Tensor:
    """Return (B, B), the cosine of every pair of rows, an image with itself included."""
    unit = F.normalize(embedding, dim=1)
    return unit @ unit.T


def others(matrix: torch.Tensor) -> torch.Tensor:
    """Return bool (B, B): which places of a (B, B) matrix are of two different images."""
    return ~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
