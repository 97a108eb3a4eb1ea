import pytest
import torch
from torch.autograd import gradcheck

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.registry import create_objective
from facedistill.models.outputs import Outputs
from tests.distill.objectives.by_hand import dot, unit
from tests.distill.objectives.contexts import outputs_asked
from tests.distill.objectives.methods import PIXELS, batch, both_outputs, made


def similar(embedding):
    rows = embedding.tolist()
    return [unit([dot(a, b) for b in rows]) for a in rows]


def test_is_the_mean_over_both_images():
    of_student, of_teacher = both_outputs()
    student, teacher = similar(of_student.embedding), similar(of_teacher.embedding)
    costs = [(a - b) ** 2 for p, q in zip(student, teacher, strict=True)
             for a, b in zip(p, q, strict=True)]  # fmt: skip
    loss, parts = made("sp")(of_student, of_teacher, batch())
    assert loss.item() == pytest.approx(sum(costs) / 64, abs=1e-12)
    assert parts == {}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_of_maps_it_takes_the_pixels_alone(dtype):
    objective = create_objective("sp", PIXELS, layer="map")
    assert outputs_asked(objective) == {"student.feature_map", "teacher.tokens"}
    maps, tokens = torch.randn(4, 5, 2, 2).to(dtype), torch.randn(4, 9 + 2, 3).to(dtype)
    loss, _ = objective(Outputs(feature_map=maps), Outputs(tokens=tokens), batch(4))
    of_student = maps.double().flatten(1)
    of_teacher = tokens.double()[:, :9].flatten(1)
    student, teacher = (torch.tensor(similar(x)) for x in (of_student, of_teacher))
    assert loss.item() == pytest.approx((student - teacher).square().mean().item(), rel=1e-4)


def test_gradients_of_maps():
    objective = create_objective("sp", PIXELS, layer="map")
    maps, tokens = torch.randn(3, 5, 2, 2).double(), torch.randn(3, 9, 3).double()

    def loss(maps):
        return objective(Outputs(feature_map=maps), Outputs(tokens=tokens), batch(3))[0]

    assert gradcheck(loss, maps.requires_grad_())


def test_maps_are_not_had_of_a_bank():
    with pytest.raises(FacedistillError, match="'sp' compares pixel features"):
        made("sp", layer="map")
    with pytest.raises(FacedistillError, match="layer is 'tokens'"):
        made("sp", layer="tokens")
