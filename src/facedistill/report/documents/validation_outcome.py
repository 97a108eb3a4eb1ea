"""How a run ended on what it was validated on: student beside teacher, best step, overfitting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.teachers.base import Teacher
from facedistill.distill.teachers.from_bank import BankTeacher
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.report import Report
from facedistill.evaluation.statistics.bootstrap import compare_paired
from facedistill.evaluation.stored_embeddings import of_bank

_PREFIX = "validation."


class Validated(NamedTuple):
    """One evaluation of a run.

    Attributes:
        step: When.
        value: The figure, 0..1.
        loss: Mean loss logged last; None where none was.
    """

    step: int
    value: float
    loss: float | None


def history(records: Iterable[Mapping[str, Any]], figure: str) -> list[Validated]:
    """Return the evaluations in a run's `metrics.jsonl`.

    Args:
        records: What was logged.
        figure: `accuracy` or `nme`.
    """
    found, loss = [], None
    for record in records:
        loss = record.get("loss", loss)
        if _PREFIX + figure in record:
            found.append(Validated(record["step"], record[_PREFIX + figure], loss))
    return found


def best_evaluation(evaluations: Sequence[Validated], figure: str) -> Validated:
    """Return the evaluation whose weights are the best; of equal ones the first."""
    sign = -1 if figure == "nme" else 1
    return max(evaluations, key=lambda each: sign * each.value)


def overfitting(evaluations: Sequence[Validated], figure: str, items: int) -> str | None:
    """Return what is to be said where validation got worse while the loss went on falling.

    Args:
        evaluations: Of the whole run.
        figure: `accuracy` or `nme`.
        items: Pairs, or faces, that each figure is over.

    Returns:
        A line; None where the fall is within two standard errors (of an NME a twentieth), or the
        loss rose too.
    """
    best, last = best_evaluation(evaluations, figure), evaluations[-1]
    if best.loss is None or last.loss is None or last.loss >= best.loss:
        return None
    tolerance = best.value / 20
    if figure == "accuracy":
        tolerance = 2 * float(np.sqrt(best.value * (1 - best.value) / items))
    if abs(best.value - last.value) <= tolerance:
        return None
    return (
        f"overfitting: from step {best.step:,} on the loss fell from {best.loss:.4g} to "
        f"{last.loss:.4g} and the validation {figure} went from {100 * best.value:.2f} % to "
        f"{100 * last.value:.2f} %: the best weights are kept; more images, stronger "
        "data.augmentation or a smaller training.epochs would help"
    )


def outcome_lines(
    student: Report,
    validation: object,
    teacher: Teacher | None,
    records: Iterable[Mapping[str, Any]],
) -> list[str]:
    """Return how a run ended on what it was validated on.

    Args:
        student: The best weights' report.
        validation: What they were validated on.
        teacher: The run's teacher: one from a bank is measured on the same pairs.
        records: What was logged.
    """
    figure = next(iter(student.figures))
    evaluations = history(records, figure)
    best = f" (best, step {best_evaluation(evaluations, figure).step:,})" if evaluations else ""
    rows = [
        ("on what is split off to validate", figure),
        (f"student{best}", f"{100 * student.figures[figure]:.2f} %"),
    ]
    if isinstance(validation, PairSet) and isinstance(teacher, BankTeacher):
        assert isinstance(student, PairReport)
        rows += _teacher_rows(student, validation, teacher)
    width = max(len(name) for name, _ in rows)
    lines = [f"{name:<{width}}  {value}" for name, value in rows]
    items = len(student.items) if student.items is not None else 1
    warned = overfitting(evaluations, figure, items) if evaluations else None
    return lines + ([warned] if warned else [])


def _teacher_rows(
    student: PairReport, validation: PairSet, teacher: BankTeacher
) -> list[tuple[str, str]]:
    """Return the teacher's row and the difference, with its interval."""
    try:
        stored = of_bank(teacher.bank, validation.faces)
    except FacedistillError:
        return [("teacher", "the bank does not have these images")]
    options = EvaluationOptions(kfold=student.protocol, resamples=0)
    report = PairProtocol(validation).evaluate(stored, options)
    assert isinstance(report, PairReport)
    difference = compare_paired(
        student.result.correct, report.result.correct, student.same, student.identities
    )
    points = difference.estimate.text(2, scale=100, signed=True)
    return [
        ("teacher (from the bank)", f"{100 * report.accuracy:.2f} %"),
        ("student - teacher", f"{points} percentage points"),
    ]
