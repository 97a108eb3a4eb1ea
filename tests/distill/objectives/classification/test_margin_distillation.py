import math

import pytest
import torch

from facedistill.distill.objectives.classification.margin_distillation import add_margins
from tests.distill.objectives.by_hand import dot, unit
from tests.distill.objectives.classification.test_arcdistill import arcface, cross_entropy
from tests.distill.objectives.methods import LABELS, batch, both_outputs, made, setting


def test_every_image_has_its_margin():
    context = setting(student=3)
    of_student, of_teacher = both_outputs(student=3)
    centres = context.class_centres.tolist()
    # One image is surely on the far side of its centre: there the margin is the smallest.
    of_teacher.embedding[3] = -torch.tensor(centres[LABELS[3]])
    of_teacher.embedding[0] = torch.tensor(centres[0])
    rows = zip(of_teacher.embedding.tolist(), LABELS, strict=True)
    sure = [max(0, dot(unit(row), unit(centres[y]))) for row, y in rows]
    margins = [0.1 + 0.5 * d / max(sure) for d in sure]
    assert margins[3] == 0.1
    assert margins[0] == pytest.approx(0.6)

    expected = cross_entropy(
        of_student.embedding.tolist(), centres, LABELS, lambda c, i: arcface(margins[i])(c, i), 16
    )
    objective = made("margin_distillation", context, scale=16, smallest=0.1, largest=0.6)
    loss, parts = objective(of_student, of_teacher, batch())
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert parts["margin"].item() == pytest.approx(sum(margins) / 8)


def test_past_pi_it_goes_on_falling():
    cosine = torch.linspace(0, math.pi, 50, dtype=torch.float64).cos()
    harder = add_margins(cosine, torch.full_like(cosine, 0.5))
    assert (harder.diff() < 0).all()
    assert (harder <= cosine).all()
