import pytest
import torch

from tests.distill.objectives.by_hand import batch_of, dot, outputs_of, unit
from tests.distill.objectives.classification.test_arcdistill import arcface, cross_entropy
from tests.distill.objectives.methods import LABELS, batch, both_outputs, made, setting


def clip(value):
    return min(1.0, max(1e-6, value))


def moved(centres, of_student, of_teacher, labels):
    """Centres after a batch: of an identity with two images the last one counts."""
    result = [list(centre) for centre in centres]
    for f_s, f_t, y in zip(of_student, of_teacher, labels, strict=True):
        f_s, f_t = unit(f_s), unit(f_t)
        kept = clip(dot(f_s, f_t) * clip(dot(unit(centres[y]), f_t)))
        result[y] = [kept * c + (1 - kept) * x for c, x in zip(centres[y], f_t, strict=True)]
    return result


@pytest.mark.parametrize("centres", ["random", "teacher"])
def test_centres_follow_the_teacher(centres):
    objective = made("adadistill", setting(student=3), centres=centres)
    centres = objective.head.weight.tolist()
    for _ in range(3):
        of_student, of_teacher = both_outputs(student=3)
        of_teacher.embedding[:] = of_student.embedding + of_teacher.embedding / 4
        objective.observe(of_student, of_teacher, batch())
        centres = moved(
            centres, of_student.embedding.tolist(), of_teacher.embedding.tolist(), LABELS
        )
        torch.testing.assert_close(objective.head.weight, torch.tensor(centres))
    loss, _ = objective(of_student, of_teacher, batch())
    expected = cross_entropy(of_student.embedding.tolist(), centres, LABELS, arcface(0.45), 64)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_a_student_that_knows_nothing_gets_the_image_itself_as_target():
    objective = made("adadistill", setting(student=3), centres="teacher")
    before = objective.head.weight.clone()
    of_teacher = torch.randn(1, 3)
    objective.observe(outputs_of(-of_teacher), outputs_of(of_teacher), batch_of([2]))
    torch.testing.assert_close(
        objective.head.weight[2], torch.nn.functional.normalize(of_teacher)[0], atol=1e-5, rtol=0
    )
    assert torch.equal(objective.head.weight[[0, 1, 3]], before[[0, 1, 3]])


def test_a_student_that_knows_everything_leaves_the_centre():
    objective = made("adadistill", setting(student=3), centres="teacher")
    before = objective.head.weight.clone()
    objective.observe(outputs_of(5 * before[1:2]), outputs_of(2 * before[1:2]), batch_of([1]))
    torch.testing.assert_close(objective.head.weight, before)


def test_other_heads_keep_their_margin():
    assert made("adadistill").head.m2 == 0.45
    assert made("adadistill", m=0.2).head.m2 == 0.2
    assert made("adadistill", head="cosface").head.m3 == 0.4
