import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.context import RunContext
from facedistill.distill.objectives.registry import create_objective
from facedistill.distill.teachers.from_bank import BankTeacher, prototypes_of
from facedistill.distill.teachers.online import NetworkTeacher
from facedistill.models.outputs import Outputs
from tests.distill.conftest import DIMENSION, Faces, embed, embed_bank, info_of
from tests.distill.teachers.by_hand import FLIPPED, INDICES, ByHand, batch_of


@pytest.fixture
def bank(faces, tmp_path):
    return embed_bank(embed, faces, tmp_path, info=info_of(faces))


@pytest.mark.parametrize("view", ["same", "clean"])
def test_bank_and_network_give_the_same_embeddings(bank, faces, view):
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


def test_soft_targets_come_from_a_bank(bank, faces):
    teacher = BankTeacher(bank, prototypes=prototypes_of(bank, faces))
    batch = batch_of(faces)
    of_teacher = teacher(batch, {"logits"})
    objective = create_objective("kd", RunContext(4, DIMENSION, 3))
    loss, _ = objective(Outputs(logits=of_teacher.logits.clone()), of_teacher, batch)
    assert loss.item() == pytest.approx(0, abs=1e-5)


def test_faces_that_the_bank_does_not_know_are_refused(bank):
    unknown = Faces([500, 501])
    with pytest.raises(FacedistillError, match="knows nothing of 2 of 2"):
        prototypes_of(bank, unknown)


def test_mirrored_images_need_the_flipped_view_unless_clean(faces, tmp_path):
    bank = embed_bank(embed, faces, tmp_path, info=info_of(faces, views=("plain",)))
    batch = batch_of(faces)
    with pytest.raises(FacedistillError, match=r"set teacher.view: clean"):
        BankTeacher(bank, "same")(batch, {"embedding"})
    assert BankTeacher(bank, "clean")(batch, {"embedding"}).embedding.shape == (4, DIMENSION)
