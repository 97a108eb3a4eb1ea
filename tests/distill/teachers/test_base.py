import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.batch import Batch
from facedistill.distill.bank.bank import stack_keys
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from facedistill.distill.teachers.from_bank import BankTeacher, prototypes_of
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.distill.teachers.prompted import TrainableTeacher
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.distill.conftest import DIMENSION, Faces, embed, embed_bank, info_of

INDICES = [7, 2, 2, 9]
FLIPPED = [True, False, True, False]


@pytest.fixture
def bank(faces, tmp_path):
    return embed_bank(embed, faces, tmp_path, info=info_of(faces))


def batch_of(faces, clean=False):
    samples = [faces[i] for i in INDICES]
    plain = np.stack([sample.image for sample in samples])
    flipped = np.array(FLIPPED)
    seen = np.where(flipped[:, None, None, None], plain[:, :, ::-1], plain)
    return Batch(
        images=torch.from_numpy(seen),
        labels=torch.tensor([sample.label for sample in samples]),
        flipped=torch.from_numpy(flipped),
        keys=stack_keys([sample.key for sample in samples]),
        clean=torch.from_numpy(plain) if clean else None,
    )


class ByHand(torch.nn.Module):
    """The teacher of the bank as a network that can be asked."""

    name, fingerprint, embedding_size = "by hand", "f" * 32, DIMENSION
    gives = frozenset({"embedding"})

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.drop = torch.nn.Dropout(0.9)

    def forward(self, images, needs=("embedding",)):
        flat = images.flatten(1).float()[:, :DIMENSION] - 127.5
        return Outputs(embedding=self.drop(self.scale * flat))


@pytest.mark.parametrize("view", ["same", "clean"])
def test_bank_and_network_say_the_same(bank, faces, view):
    batch = batch_of(faces, clean=True)
    cached = BankTeacher(bank, view)(batch, {"embedding"}).embedding
    online = NetworkTeacher(ByHand(), view)(batch, {"embedding"}).embedding
    assert cached.dtype == torch.float32
    assert not cached.requires_grad
    torch.testing.assert_close(cached, online, rtol=1e-3, atol=0.3)
    same = torch.from_numpy(embed(batch.images.numpy()))
    clean = torch.from_numpy(embed(batch.clean.numpy()))
    torch.testing.assert_close(online, same if view == "same" else clean)
    assert not torch.allclose(same, clean, atol=1)


def test_a_bank_names_itself(bank):
    teacher = BankTeacher(bank)
    assert teacher.name == f"bank {bank.folder}"
    assert teacher.fingerprint == bank.info.teacher
    assert teacher.embedding_size == DIMENSION
    assert not teacher.wants_clean
    teacher.check({"embedding"})
    with pytest.raises(
        FacedistillError, match=r"need teacher.logits, teacher.tokens, but bank .* only embedding"
    ):
        teacher.check({"embedding", "tokens", "logits"})


def test_logits_are_scaled_cosines_with_each_identitys_mean(bank, faces):
    teacher = BankTeacher(bank, "same", prototypes_of(bank, faces), 16.0)
    teacher.check({"embedding", "logits"})
    logits = teacher(batch_of(faces), {"embedding", "logits"}).logits
    rows = bank.embeddings(np.arange(10))
    for index, flipped, row in zip(INDICES, FLIPPED, logits.tolist(), strict=True):
        own = bank.embeddings(np.array([index]), np.array([flipped]))[0]
        for identity, logit in enumerate(row):
            mean = rows[faces.labels == identity].mean(axis=0)
            cosine = own @ mean / np.linalg.norm(own) / np.linalg.norm(mean)
            assert logit == pytest.approx(16 * cosine, abs=1e-4)
    assert teacher(batch_of(faces), {"embedding"}).logits is None
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(teacher(batch_of(faces), {"logits"}).logits, logits)


def test_prototypes_are_of_the_training_faces_alone(bank, faces):
    some = Faces([3, 4, 5], labels=[1, 0, 1])
    prototypes = prototypes_of(bank, some)
    first = bank.embeddings(np.array([4]))[0]
    assert prototypes.shape == (2, DIMENSION)
    np.testing.assert_allclose(prototypes[0], first / np.linalg.norm(first), atol=1e-5)


def test_soft_targets_can_be_taught_from_a_bank(bank, faces):
    teacher = BankTeacher(bank, prototypes=prototypes_of(bank, faces))
    batch = batch_of(faces)
    said = teacher(batch, {"logits"})
    objective = create_objective("kd", RunContext(4, DIMENSION, 3))
    loss, _ = objective(Outputs(logits=said.logits.clone()), said, batch)
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_faces_that_the_bank_does_not_know_are_refused(bank):
    strangers = Faces([500, 501])
    with pytest.raises(FacedistillError, match="knows nothing of 2 of 2"):
        prototypes_of(bank, strangers)


def test_mirrored_images_need_the_flipped_view_unless_clean(faces, tmp_path):
    bank = embed_bank(embed, faces, tmp_path, info=info_of(faces, views=("plain",)))
    batch = batch_of(faces)
    with pytest.raises(FacedistillError, match=r"set teacher.view: clean"):
        BankTeacher(bank, "same")(batch, {"embedding"})
    assert BankTeacher(bank, "clean")(batch, {"embedding"}).embedding.shape == (4, DIMENSION)


def test_a_network_is_frozen_and_evaluates(faces):
    network = ByHand().train()
    teacher = NetworkTeacher(network)
    said = teacher(batch_of(faces), {"embedding"})
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not said.embedding.requires_grad
    assert (said.embedding != 0).any(dim=1).all()


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
        said = NetworkTeacher(network, precision=own)(batch_of(faces), {"embedding"})
    assert network.product.dtype == own
    assert said.embedding.dtype == said.stage_maps[0].dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16, enabled=run == torch.bfloat16):
        said = NetworkTeacher(network)(batch_of(faces), {"embedding"})
    assert network.product.dtype == said.embedding.dtype == run


def test_gradients_reach_what_trains_in_half_precision(faces):
    module = Precisions().train()
    teacher = TrainableTeacher(module, ByHand(), precision=torch.bfloat16)
    teacher(batch_of(faces), {"embedding"}).embedding.sum().backward()
    assert module.product.dtype == torch.bfloat16
    assert module.linear.weight.grad.abs().sum() > 0


def test_a_network_wants_the_clean_view_only_if_told(faces):
    assert NetworkTeacher(ByHand(), "clean").wants_clean
    assert not NetworkTeacher(ByHand(), "same").wants_clean
    with pytest.raises(AssertionError, match="clean view"):
        NetworkTeacher(ByHand(), "clean")(batch_of(faces), {"embedding"})


def test_a_face_network_teaches_feature_maps_too():
    faces = Faces(range(10), size=32)
    network = FaceNetwork.create("mobilefacenet", InputSpec(size=32), width=0.125)
    teacher = NetworkTeacher(network)
    teacher.check({"embedding", "feature_map"})
    said = teacher(batch_of(faces), {"feature_map"})
    assert said.feature_map.ndim == 4
    assert said.stage_maps is None
    sides = [each.shape[2] for each in teacher(batch_of(faces), {"stage_maps"}).stage_maps]
    assert sides == [8, 4, 2]
    with pytest.raises(FacedistillError, match=r"need teacher.logits, but mobilefacenet gives"):
        teacher.check({"logits"})
