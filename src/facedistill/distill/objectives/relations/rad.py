"""Relation-aware distillation: tell apart, as the teacher does, the identities nearest to each."""

from __future__ import annotations

from typing import Literal

import torch

from facedistill.data.batch import Batch
from facedistill.distill.objectives.base import Gather, Loss, Objective
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.gathering import mean_of_processes
from facedistill.distill.objectives.registry import objective
from facedistill.distill.objectives.relations.embedding_memory import IdentityMemory, Storage
from facedistill.distill.objectives.relations.relation import (
    check_penalty,
    penalty,
    relations,
    unit,
)
from facedistill.models.outputs import Outputs, embedding_of

_LEAST = 1e-6
"""Count of valid relations in place of 0, where the sum is 0 as well."""


@objective("rad")
class RelationAware(Objective):
    """L_rad = mean over valid (i, k in H_{y_i}) of max(delta_ik - q, 0).

    delta_ik = R(f_s_i, e_s_k) - R(f_t_i, e_t_k): only relations in which the student is less
    discriminative than the teacher are paid. H_y are the identities that the teacher finds nearest
    to y, e the latest embeddings of an identity (memories E_s, E_t) as earlier steps left
    them; a relation is valid when the student has embedded identity k before. Mean over valid
    relations; 0 while there is none. Gradients flow into f_s only.

    Source: CoupleFace (Liu et al., ECCV 2022). The paper's K, margin q and its sign, weight, start
    and form of the penalty are not known here: they are options.

    Args:
        context: What it may ask of the run.
        neighbours: K, hardest identities for each; all others where there are fewer.
        q: Margin, -2 to 2; below 0 the student must be more discriminative than the teacher.
        two_sided: Pay max(|delta| - q, 0).
        squared: Pay the square.
        reference: `student` as above; `teacher` puts R(f_s_i, e_t_k) for the student's relation,
            which needs embeddings of one dimension and has every relation valid.
        storage: `fp16` or `fp32`, of the memories.
        neighbours_by: `mined` as above; `random` takes as many identities drawn at random in their
            place, a control that tells how much of the gain is the mining's.
        neighbours_seed: Of that draw, which the run's own seed does not change.
    """

    needs = frozenset(
        {"student.embedding", "teacher.embedding", "run.identities", "run.neighbours"}
    )

    def __init__(
        self,
        context: RunContext,
        *,
        neighbours: int = 100,
        q: float = 0.03,
        two_sided: bool = False,
        squared: bool = False,
        reference: Literal["student", "teacher"] = "student",
        storage: Storage = "fp16",
        neighbours_by: Literal["mined", "random"] = "mined",
        neighbours_seed: int = 0,
    ) -> None:
        super().__init__()
        teacher_size = context.require_teacher()
        identities = context.require_identities()
        check_penalty(q, two_sided)
        if reference == "teacher" and context.student_size != teacher_size:
            raise ValueError(
                f"reference: teacher compares {context.student_size} dimensions of the student "
                f"with {teacher_size} of the teacher: set student.embedding_size: {teacher_size}"
            )
        self.q, self.two_sided, self.squared = q, two_sided, squared
        self.reference = reference
        mined = context.neighbours(neighbours)
        self.neighbours = mined.indices
        if neighbours_by == "random":
            count = mined.indices.shape[1]
            self.neighbours = random_others(identities, count, neighbours_seed)
        self.teachers = IdentityMemory(mined.prototypes, storage)
        self.students = IdentityMemory((identities, context.student_size), storage)
        self._observed: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def observe(self, student: Outputs, teacher: Outputs, batch: Batch) -> None:
        """Remember the embeddings for the memories."""
        of_student, target = (
            unit(embedding_of(outputs).detach()) for outputs in (student, teacher)
        )
        self._observed.append((batch.labels, of_student, target))

    def finish_step(self, gather: Gather) -> None:
        """Overwrite the memories' rows of the identities of the whole batch."""
        columns = zip(*self._observed, strict=True)
        labels, of_student, target = (gather(torch.cat(column)) for column in columns)
        self._observed.clear()
        self.students.record(labels, of_student)
        self.teachers.record(labels, target)

    def forward(self, student: Outputs, teacher: Outputs, batch: Batch) -> Loss:
        """Return the loss, and the shares of relations that are valid and, of those, paid."""
        of_student, target = unit(embedding_of(student)), unit(embedding_of(teacher))
        self.neighbours = self.neighbours.to(of_student.device)
        teachers, students = (
            each.to_device(of_student.device) for each in (self.teachers, self.students)
        )
        near = self.neighbours[batch.labels]
        memory = students if self.reference == "student" else teachers
        difference = relations(of_student, memory.rows, near)
        difference = difference - relations(target, teachers.rows, near)
        cost = penalty(difference, self.q, self.two_sided, self.squared)
        valid = memory.seen[near]
        # Of all processes, so that each relation counts alike, in whichever of them it is.
        count = mean_of_processes(valid.sum().to(cost.dtype)).clamp_min(_LEAST)
        cost = torch.where(valid, cost, 0)
        paid = (cost > 0).sum() / count
        return cost.sum() / count, {"valid": valid.float().mean(), "paid": paid}


def random_others(identities: int, count: int, seed: int) -> torch.Tensor:
    """Return for each identity others drawn uniformly without replacement, never itself.

    Every set of others is equally likely (Floyd's algorithm, for all identities at once); memory
    is that of the result.

    Args:
        identities: M.
        count: K, 1..M-1.
        seed: Same seed, same draw.

    Returns:
        int64 (M, K), on the CPU, in no meaningful order.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.empty(identities, count, dtype=torch.int64)
    for place, last in enumerate(range(identities - 1 - count, identities - 1)):
        one = torch.randint(last + 1, (identities,), generator=generator)
        taken = (drawn[:, :place] == one[:, None]).any(1)
        drawn[:, place] = one.where(~taken, last)
    # These are numbers among the M - 1 others: those from one's own on stand one further.
    return drawn + (drawn >= torch.arange(identities)[:, None])
