import hashlib
import tracemalloc

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.labels import Subset
from facedistill.data.open import open_dataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.making import embed_teacher, import_embeddings
from facedistill.models.face_network import FaceNetwork
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.distill.conftest import DIMENSION, Faces


@pytest.fixture
def values():
    return np.random.default_rng().normal(size=(10, DIMENSION)).astype(np.float32)


def test_a_network_fills_a_bank(tmp_path):
    faces = Faces(range(5), size=32)
    network = FaceNetwork.create(
        "mobilefacenet", InputSpec(size=32), embedding_size=DIMENSION, width=0.125
    )
    bank = embed_teacher(network, faces, tmp_path, batch_size=2, workers=1, licence="MIT")
    assert not network.training
    assert bank.info.teacher == network.fingerprint
    assert bank.info.teacher_name == network.name
    assert bank.info.dataset == faces.fingerprint
    assert (bank.info.licence, bank.info.views) == ("MIT", ("plain", "flipped"))
    images = torch.from_numpy(np.stack([faces[i].image for i in range(5)])).to(network.device)
    with torch.inference_mode():
        plain = network(images).embedding.cpu().numpy()
        mirrored = network(images.flip(2)).embedding.cpu().numpy()
    rows, all_flipped = np.arange(5), np.ones(5, bool)
    for raw, flipped in ((plain, None), (mirrored, all_flipped)):
        length = np.linalg.norm(raw, axis=1)
        np.testing.assert_allclose(bank.norms(rows, flipped), length, rtol=1e-4)
        np.testing.assert_allclose(bank.embeddings(rows, flipped), raw / length[:, None], atol=1e-3)
    assert embed_teacher(network, faces, tmp_path / "p", flip=False).info.views == ("plain",)


def test_import_of_the_plain_view(faces, tmp_path, values):
    np.save(tmp_path / "strong.npy", values)
    bank = import_embeddings(tmp_path / "strong.npy", faces, tmp_path / "b", licence="MIT")
    assert bank.info.teacher == f"imported:{hashlib.blake2b(values, digest_size=16).hexdigest()}"
    assert bank.info.teacher_name == "strong.npy"
    assert (bank.info.licence, bank.info.views) == ("MIT", ("plain",))
    length = np.linalg.norm(values, axis=1)
    np.testing.assert_allclose(bank.norms(np.arange(10)), length, rtol=1e-6)


def test_import_of_both_views_distinguishes_other_files(faces, tmp_path, values):
    np.save(tmp_path / "plain.npy", values)
    np.save(tmp_path / "flipped.npy", -values)
    bank = import_embeddings(
        tmp_path / "plain.npy", faces, tmp_path / "b", flipped=tmp_path / "flipped.npy"
    )
    rows = np.arange(10)
    assert np.array_equal(bank.embeddings(rows, rows >= 0), -bank.embeddings(rows))
    np.save(tmp_path / "flipped.npy", -2 * values)
    with pytest.raises(FacedistillError, match="already holds another bank"):
        import_embeddings(
            tmp_path / "plain.npy", faces, tmp_path / "b", flipped=tmp_path / "flipped.npy"
        )


def test_the_corrected_file_replaces_one_that_failed(faces, tmp_path, values):
    np.save(tmp_path / "a.npy", values * 0)
    with pytest.raises(FacedistillError, match="zero"):
        import_embeddings(tmp_path / "a.npy", faces, tmp_path / "b")
    np.save(tmp_path / "a.npy", values)
    assert len(import_embeddings(tmp_path / "a.npy", faces, tmp_path / "b")) == 10


def test_fortran_order_and_double_precision_import_alike(faces, tmp_path, values):
    banks = []
    for name, array in (
        ("c", values),
        ("f", np.asfortranarray(values)),
        ("d", values.astype("f8")),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        banks.append(import_embeddings(tmp_path / f"{name}.npy", faces, tmp_path / name))
    rows = np.arange(10)
    for bank in banks[1:]:
        assert np.array_equal(bank.embeddings(rows), banks[0].embeddings(rows))
    assert banks[0].info.teacher == banks[1].info.teacher


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((10, DIMENSION), np.int64),
        np.zeros((10, DIMENSION), np.complex64),
        np.zeros((10, 2, 3)),
        np.zeros(10),
        np.float64(3),
        np.zeros((10, 0)),
        np.zeros((0, DIMENSION)),
        np.array([[{}] * DIMENSION] * 10, object),
    ],
    ids=["int", "complex", "3-d", "1-d", "0-d", "no dimensions", "no images", "objects"],
)
def test_other_arrays_are_refused_and_nothing_is_written(faces, tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(FacedistillError, match=r"a\.npy|shape \(0"):
        import_embeddings(tmp_path / "a.npy", faces, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_missing_file_is_named(faces, tmp_path):
    with pytest.raises(FacedistillError, match=r"none.npy: no such file"):
        import_embeddings(tmp_path / "none.npy", faces, tmp_path / "b")


def test_a_file_larger_than_memory_is_hashed_block_by_block(faces, tmp_path):
    large = np.ones((40_000, 256), np.float32)
    np.save(tmp_path / "a.npy", large)
    size = large.nbytes
    del large
    tracemalloc.start()
    try:
        with pytest.raises(FacedistillError, match="10 images"):
            import_embeddings(tmp_path / "a.npy", faces, tmp_path / "b")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 4


def test_real_embeddings_are_the_real_teachers(real_data, tmp_path):
    faces = open_dataset(real_data / "celeba112")
    bank = import_embeddings(real_data / "celeba112" / "edgeface_s_train.npy", faces, tmp_path)
    assert len(Bank(tmp_path)) == len(faces) == 28_000
    some = Subset(faces, [17, 9_000, 27_999])
    bank.check_dataset(some)
    keys = np.stack([np.frombuffer(some.key(i), np.uint8) for i in range(3)])
    teacher = OnnxNetwork(
        real_data / "teacher" / "edgeface_s_int8.onnx", input=InputSpec(), threads=1
    )
    images = torch.from_numpy(np.stack([some[i].image for i in range(3)]))
    embeddings = teacher.embed(images, flip=False).numpy()
    cosines = (embeddings * bank.embeddings(bank.find(keys))).sum(axis=1)
    assert cosines.min() > 0.99
