"""The loss that both relational distillations share, one number at a time."""

from tests.distill.objectives.by_hand import unit


def smooth_l1(a, b):
    gap = abs(a - b)
    return gap**2 / 2 if gap < 1 else gap - 0.5


def rows(outputs, normalise):
    return [unit(row) if normalise else row for row in outputs.embedding.tolist()]


def mean_difference(relation, of_student, of_teacher, normalise):
    """The mean of what `relation` finds between the rows of each side, compared by smooth L1."""
    student, teacher = (relation(rows(x, normalise)) for x in (of_student, of_teacher))
    return sum(smooth_l1(student[key], teacher[key]) for key in student) / len(student)
