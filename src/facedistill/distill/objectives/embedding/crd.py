"""Contrastive representation distillation: an image's two embeddings against other images'."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Gather, Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import agreed, gathered
from facedistill.distill.objectives.precision import at_least_float32
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.embedding_memory import IdentityMemory
from facedistill.distill.objectives.relations.relation import unit
from facedistill.models.outputs import Outputs, embedding_of


@objective("crd")
class ContrastiveRepresentation(Objective):
    """Noise-contrastive estimation with a memory: is this pair of embeddings of one image?

    Both embeddings go through a learned linear map to unit vectors v_s, v_t. With the odds of a
    pair h(a, b) = exp(a . b / tau) / (K z), each image costs log(1 + 1/h(v_s, v_t)) for its own
    pair and log(1 + h(v_s, n)) for each of K negatives n of the teacher's memory; the same again
    for v_t and the student's memory. Sum over negatives, mean over the batch, sum of both sides; 0
    to infinity, about 2 log K + 4 for a student that starts. z, the mean of exp(a . n / tau), is
    of the first batch, of all processes.

    The memories hold an identity's latest embeddings as a running mean and negatives are of other
    identities, drawn once for the whole batch. The source has a row for every training image, draws
    for each image apart, and takes the positive from the memory too.

    Source: Tian, Krishnan and Isola, "Contrastive Representation Distillation" (ICLR 2020).

    Args:
        context: What it may ask of the run.
        dimension: Of v_s and v_t, 2 or more.
        negatives: K; all other identities where there are fewer.
        tau: Temperature, above 0 and at most 1.
        momentum: Share that a row of the memory keeps of itself, 0 to below 1.
    """

    needs = frozenset({"student.embedding", "teacher.embedding", "run.identities"})
    log_mean: torch.Tensor
    started: torch.Tensor

    def __init__(
        self,
        context: RunContext,
        *,
        dimension: int = 128,
        negatives: int = 16384,
        tau: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        teacher_size = context.require_teacher()
        identities = context.require_identities()
        if dimension < 2 or negatives < 1:
            raise ValueError(
                f"dimension and negatives are {dimension} and {negatives}: at least 2 and 1"
            )
        if not 0 < tau <= 1:
            raise ValueError(f"tau is {tau}, it must be above 0 and at most 1")
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum is {momentum}, it must be 0 or more and below 1")
        self.negatives, self.tau, self.momentum = negatives, tau, momentum
        self.student_map = nn.Linear(context.student_size, dimension)
        self.teacher_map = nn.Linear(teacher_size, dimension)
        self.students, self.teachers = (
            IdentityMemory(unit(torch.randn(identities, dimension)), "fp32") for _ in range(2)
        )
        self.register_buffer("log_mean", torch.zeros(2))
        self.register_buffer("started", torch.tensor(False))
        self._observed: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def mapped(self, student: Outputs, teacher: Outputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return v_s and v_t, each (B, dimension) of length 1."""
        of_student = self.student_map(at_least_float32(embedding_of(student)))
        target = self.teacher_map(at_least_float32(embedding_of(teacher)))
        return unit(of_student), unit(target)

    @torch.no_grad()
    def observe(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Remember the embeddings for the memories."""
        self._observed.append((batch.labels, *self.mapped(student, teacher)))

    def finish_step(self, gather: Gather) -> None:
        """Bring the memories up to date with the identities of the whole batch."""
        columns = zip(*self._observed, strict=True)
        labels, of_student, target = (gather(torch.cat(column)) for column in columns)
        self._observed.clear()
        for memory, new in (self.students, of_student), (self.teachers, target):
            old = memory.to_device(new.device).rows[labels]
            memory.record(labels, unit(self.momentum * old + (1 - self.momentum) * new))

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, and the share of pairs separated from their negatives' mean odds."""
        of_student, target = self.mapped(student, teacher)
        drawn = self._draw(len(self.students.rows), of_student.device)
        # Autocast would multiply in half precision.
        with torch.autocast(of_student.device.type, enabled=False):
            own = (of_student * target).sum(dim=1) / self.tau
            sides = torch.stack(
                [
                    units @ memory.to_device(units.device).rows[drawn].to(units.dtype).T / self.tau
                    for units, memory in ((of_student, self.teachers), (target, self.students))
                ]
            )
        other = batch.labels[:, None] != drawn
        if self.training and not self.started:
            self._start(sides.detach())
        log_count = math.log(len(drawn)) + self.log_mean.to(own.dtype)
        positive = F.softplus(log_count[:, None] - own)
        negative = (F.softplus(sides - log_count[:, None, None]) * other).sum(dim=2)
        parts = {"separated": (own > log_count[:, None]).float().mean()}
        return (positive + negative).sum(dim=0).mean(), parts

    def _draw(self, identities: int, device: torch.device) -> torch.Tensor:
        """Identities to tell from, int64 (K,), in every process the same."""
        if identities <= self.negatives:
            return torch.arange(identities, device=device)
        return agreed(torch.randperm(identities)[: self.negatives].to(device))

    def _start(self, sides: torch.Tensor) -> None:
        """Set z by all processes' (2, B, K) logits of the pairs with negatives."""
        (rows,) = gathered(sides.transpose(0, 1))
        sides = rows.transpose(0, 1)
        log_mean = sides.flatten(1).logsumexp(dim=1) - math.log(sides[0].numel())
        self.log_mean.copy_(log_mean)
        self.started.fill_(True)
