import math

import pytest

from tests.distill.objectives.by_hand import dot, unit
from tests.distill.objectives.methods import LABELS, batch, both_outputs, made, setting


def cross_entropy(of_student, centres, labels, own, scale):
    """Mean over the batch, `own` being what becomes of the cosine with an image's own centre."""
    total = 0.0
    for i, (row, label) in enumerate(zip(of_student, labels, strict=True)):
        cosines = [dot(unit(row), unit(centre)) for centre in centres]
        cosines[label] = own(cosines[label], i)
        total += math.log(sum(math.exp(scale * (c - cosines[label])) for c in cosines))
    return total / len(of_student)


def arcface(margin):
    def own(cosine, _):
        angle = math.acos(cosine) + margin
        return math.cos(angle) if angle <= math.pi else cosine - margin * math.sin(margin)

    return own


@pytest.mark.parametrize(
    ("options", "own", "scale"),
    [
        ({}, arcface(0.5), 64),
        ({"m": 0.3, "scale": 4}, arcface(0.3), 4),
        ({"head": "cosface", "scale": 8}, lambda cosine, _: cosine - 0.4, 8),
    ],
)
def test_is_cross_entropy_on_the_teachers_centres(options, own, scale):
    context = setting(student=3)
    of_student, of_teacher = both_outputs(student=3)
    loss, parts = made("arcdistill", context, **options)(of_student, of_teacher, batch())
    centres = context.class_centres.tolist()
    expected = cross_entropy(of_student.embedding.tolist(), centres, LABELS, own, scale)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert set(parts) == {"accuracy"}
