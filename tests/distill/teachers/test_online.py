import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.distill.teachers.prompted import TrainableTeacher
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.distill.conftest import DIMENSION, Faces
from tests.distill.teachers.by_hand import ByHand, batch_of


def test_a_network_is_frozen_and_evaluates(faces):
    network = ByHand().train()
    teacher = NetworkTeacher(network)
    of_teacher = teacher(batch_of(faces), {"embedding"})
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not of_teacher.embedding.requires_grad
    assert (of_teacher.embedding != 0).any(dim=1).all()


class Precisions(ByHand):
    """Notes in which precision it computes."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, DIMENSION)

    def forward(self, images, needs=("embedding",)):
        self.product = self.linear(images.flatten(1)[:, :8].float())
        return Outputs(embedding=self.product, stage_maps=[self.product])


@pytest.mark.parametrize("run", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("own", [torch.float32, torch.bfloat16])
def test_a_network_may_compute_in_a_precision_of_its_own(faces, run, own):
    network = Precisions()
    with torch.autocast("cpu", torch.bfloat16, enabled=run == torch.bfloat16):
        of_teacher = NetworkTeacher(network, precision=own)(batch_of(faces), {"embedding"})
    assert network.product.dtype == own
    assert of_teacher.embedding.dtype == of_teacher.stage_maps[0].dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16, enabled=run == torch.bfloat16):
        of_teacher = NetworkTeacher(network)(batch_of(faces), {"embedding"})
    assert network.product.dtype == of_teacher.embedding.dtype == run


def test_gradients_reach_what_trains_in_half_precision(faces):
    module = Precisions().train()
    teacher = TrainableTeacher(module, ByHand(), precision=torch.bfloat16)
    teacher(batch_of(faces), {"embedding"}).embedding.sum().backward()
    assert module.product.dtype == torch.bfloat16
    assert module.linear.weight.grad.abs().sum() > 0


def test_a_network_wants_the_clean_view_only_on_request(faces):
    assert NetworkTeacher(ByHand(), "clean").wants_clean
    assert not NetworkTeacher(ByHand(), "same").wants_clean
    with pytest.raises(AssertionError, match="clean view"):
        NetworkTeacher(ByHand(), "clean")(batch_of(faces), {"embedding"})


def test_a_face_network_gives_feature_maps_too():
    faces = Faces(range(10), size=32)
    network = FaceNetwork.create("mobilefacenet", InputSpec(size=32), width=0.125)
    teacher = NetworkTeacher(network)
    teacher.check({"embedding", "feature_map"})
    of_teacher = teacher(batch_of(faces), {"feature_map"})
    assert of_teacher.feature_map.ndim == 4
    assert of_teacher.stage_maps is None
    sides = [each.shape[2] for each in teacher(batch_of(faces), {"stage_maps"}).stage_maps]
    assert sides == [8, 4, 2]
    with pytest.raises(FacedistillError, match=r"need teacher.logits, but mobilefacenet gives"):
        teacher.check({"logits"})
