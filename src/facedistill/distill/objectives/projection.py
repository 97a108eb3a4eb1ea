"""The learned map that lets networks of different widths be compared, in training only."""

from __future__ import annotations

from torch import nn


def linear_projection(student_size: int, teacher_size: int, enabled: bool = True) -> nn.Module:
    """Return a linear map from the student's dimension to the teacher's.

    Where the dimensions agree it is the identity: a learned map there would let the student hand
    over its errors to something that is thrown away at export.

    Raises:
        ValueError: If the dimensions differ and `enabled` is false.
    """
    if student_size == teacher_size:
        return nn.Identity()
    if not enabled:
        raise ValueError(
            f"the student gives {student_size} dimensions and the teacher {teacher_size}: "
            f"set projection: true or student.embedding_size: {teacher_size}"
        )
    return nn.Linear(student_size, teacher_size, bias=False)
