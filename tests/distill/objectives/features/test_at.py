import math

import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.cross_architecture.pixel_features import PixelFeatures
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.contexts import outputs_asked
from tests.distill.objectives.methods import PIXELS, batch, made, seeing, setting


def maps(count=3):
    return torch.randn(count, 5, 2, 2).double(), torch.randn(count, 9 + 2, 3).double()


def loss_of(of_student, of_teacher, context=PIXELS):
    outputs = Outputs(feature_map=of_student), Outputs(tokens=of_teacher)
    return create_objective("at", context)(*outputs, batch(len(of_student)))[0]


def length_one(values):
    length = math.sqrt(sum(v * v for v in values))
    return [v / length for v in values]


def cells(side):
    """What each of 2 cells on a side covers of 3: neighbours share the middle."""
    return [(y, x) for y in (range(2), range(1, 3)) for x in (range(2), range(1, 3))]


def test_is_the_squared_difference_of_normalised_energies():
    of_student, of_teacher = maps()
    expected = 0.0
    for student, teacher in zip(of_student.tolist(), of_teacher.tolist(), strict=True):
        student = [sum(c[y][x] ** 2 for c in student) / 5 for y in range(2) for x in range(2)]
        energy = [sum(v * v for v in token) / 3 for token in teacher[:9]]
        teacher = [sum(energy[3 * y + x] for y in ys for x in xs) / 4 for ys, xs in cells(3)]
        both = zip(length_one(student), length_one(teacher), strict=True)
        expected += sum((a - b) ** 2 for a, b in both) / 4
    assert loss_of(of_student, of_teacher).item() == pytest.approx(expected / 3, abs=1e-12)


STAGED_STUDENT = PixelFeatures("feature_map", 5, 2, (4, 6, 5))
STAGED = seeing(STAGED_STUDENT, PixelFeatures("feature_map", 3, 3, (2, 2, 4, 3)))


def staged(sides, channels):
    return [torch.randn(2, c, side, side).double() for side, c in zip(sides, channels, strict=True)]


def test_stages_are_paired_from_the_last_and_summed():
    of_student, of_teacher = staged((8, 4, 2), (4, 6, 5)), staged((12, 6, 4, 3), (2, 3, 4, 3))
    objective = create_objective("at", STAGED)
    assert outputs_asked(objective) == {"student.stage_maps", "teacher.stage_maps"}
    outputs = Outputs(stage_maps=of_student), Outputs(stage_maps=of_teacher)
    loss, parts = objective(*outputs, batch(2))
    expected = [
        loss_of(student, teacher.flatten(2).mT, alone(student, teacher))
        for student, teacher in zip(of_student, of_teacher[1:], strict=True)
    ]
    assert loss.item() == pytest.approx(sum(expected).item(), abs=1e-12)
    values = [parts[name].item() for name in ("last_2", "last_1", "last")]
    assert values == pytest.approx([each.item() for each in expected], abs=1e-12)
    two, _ = create_objective("at", STAGED, stages=2)(*outputs, batch(2))
    assert two.item() == pytest.approx(sum(expected[1:]).item(), abs=1e-12)
    assert create_objective("at", STAGED, stages=9).stages == 3


def alone(student, teacher):
    """A run in which these are the last pixel features."""
    return seeing(
        PixelFeatures("feature_map", student.shape[1], student.shape[2]),
        PixelFeatures("tokens", teacher.shape[1], teacher.shape[2]),
    )


def test_the_last_stage_alone_is_the_last_pixel_features():
    objective = create_objective("at", STAGED, stages=1)
    assert outputs_asked(objective) == {"student.feature_map", "teacher.feature_map"}
    one_sided = seeing(STAGED_STUDENT, PixelFeatures("tokens", 3, 3))
    single = create_objective("at", one_sided)
    assert outputs_asked(single) == {"student.feature_map", "teacher.tokens"}
    with pytest.raises(FacedistillError, match="stages is 0, not 1 or more"):
        create_objective("at", STAGED, stages=0)


def test_gradients_of_stages():
    of_student, of_teacher = staged((4, 3, 2), (2, 2, 2)), staged((4, 3, 2), (2, 2, 2))
    objective = create_objective("at", STAGED)

    def loss(*maps):
        return objective(Outputs(stage_maps=[*maps]), Outputs(stage_maps=of_teacher), batch(2))[0]

    assert gradcheck(loss, [each.requires_grad_() for each in of_student])


def test_gradients():
    of_student, of_teacher = maps()
    assert gradcheck(lambda x: loss_of(x, of_teacher), of_student.requires_grad_())


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_computed_in_float32(dtype, autocast):
    of_student, of_teacher = (x.bfloat16() for x in maps())
    exact = loss_of(of_student.double(), of_teacher.double())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        loss = loss_of(of_student.to(dtype), of_teacher.to(dtype))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)


def test_a_louder_copy_costs_nothing():
    of_student = torch.randn(3, 5, 3, 3)
    of_teacher = torch.cat([of_student.flatten(2).mT * 7, torch.randn(3, 2, 5)], dim=1)
    alike = seeing(PixelFeatures("feature_map", 5, 3), PixelFeatures("tokens", 3, 3))
    assert loss_of(of_student, of_teacher, alike).item() == pytest.approx(0, abs=1e-10)


def test_a_map_without_activation_gives_no_nan():
    of_student, of_teacher = torch.zeros(3, 5, 2, 2, requires_grad=True), maps()[1]
    loss_of(of_student, of_teacher).backward()
    assert torch.isfinite(of_student.grad).all()


def test_needs_a_teacher_that_has_maps():
    with pytest.raises(FacedistillError, match="'at' compares pixel features"):
        made("at")
    with pytest.raises(FacedistillError, match="'at' needs a teacher"):
        made("at", setting(teacher=None))
