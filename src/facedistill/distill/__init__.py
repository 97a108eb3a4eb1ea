"""What a student learns from a teacher: objectives, teachers, and the bank of embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.distill.bank.bank import Bank
    from facedistill.distill.objectives.base import Objective
    from facedistill.distill.objectives.context import RunContext
    from facedistill.distill.objectives.registry import create_objective, objective
    from facedistill.distill.objectives.standalone import loss
    from facedistill.distill.teachers.base import Teacher

__all__ = [
    "Bank",
    "Objective",
    "RunContext",
    "Teacher",
    "create_objective",
    "loss",
    "objective",
]

_MODULES = {
    "Bank": "bank.bank",
    "Objective": "objectives.base",
    "RunContext": "objectives.context",
    "Teacher": "teachers.base",
    "create_objective": "objectives.registry",
    "loss": "objectives.standalone",
    "objective": "objectives.registry",
}

__getattr__ = lazy_names(__name__, _MODULES)
