import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.bin_pairs import write_bin
from facedistill.data.pairs.open_pairs import open_pairs
from facedistill.evaluation.stored_embeddings import (
    StoredEmbeddings,
    open_stored,
)
from facedistill.models.outputs import Outputs
from tests.evaluation.pair_evaluation import evaluate_pairs


def pixels(images, needs):
    return Outputs(embedding=images.flatten(1).float() - 127.5)


@pytest.fixture(scope="module")
def pairset():
    return open_pairs("procedural:identities=8,images=4,size=16", count=40)


@pytest.fixture(scope="module")
def stored(pairset):
    images = torch.from_numpy(np.stack([pairset.image(i) for i in range(len(pairset))]))
    plain, flipped = (pixels(x, set()).embedding.numpy() for x in (images, images.flip(2)))
    return StoredEmbeddings("emb.npy", plain, flipped)


def test_figures_are_the_network_s(pairset, stored):
    expected = evaluate_pairs(pixels, pairset, resamples=0)
    by_image = evaluate_pairs(stored, pairset, resamples=0)
    rows = pairset.pairs.ravel()
    by_pair = evaluate_pairs(
        StoredEmbeddings("emb.npy", stored.plain[rows], stored.flipped[rows]), pairset, resamples=0
    )
    for report in (by_image, by_pair):
        np.testing.assert_allclose(report.scores, expected.scores, atol=1e-6)
        assert report.to_dict()["verification"] == expected.to_dict()["verification"]
        assert report.flip
    plain = StoredEmbeddings("emb.npy", stored.plain)
    assert not evaluate_pairs(plain, pairset, resamples=0).flip


def test_rows_of_a_bin_are_in_the_order_of_its_images(pairset, stored, tmp_path):
    write_bin(pairset, tmp_path / "a.bin")
    np.save(tmp_path / "a.npy", stored.plain[pairset.pairs.ravel()].astype(np.float16))
    packed = open_pairs(tmp_path / "a.bin")
    assert len(packed) < 2 * len(packed.same)
    report = evaluate_pairs(open_stored(tmp_path / "a.npy"), packed, resamples=0)
    expected = evaluate_pairs(pixels, packed, flip=False, resamples=0)
    np.testing.assert_allclose(report.scores, expected.scores, atol=1e-4)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.ones((50, 3)), "emb.npy has 50 rows, .* give 80, two per pair"),
        (np.full((80, 3), np.nan), "embedding 0 is not finite"),
        (np.zeros((80, 3)), "embedding 0 is all zero"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(pairset, embeddings, message):
    with pytest.raises(FacedistillError, match=message):
        evaluate_pairs(StoredEmbeddings("emb.npy", embeddings), pairset, resamples=0)


def test_a_pair_listed_twice_is_refused(pairset, stored):
    repeated = open_pairs("procedural:identities=8,images=4,size=16", count=40)
    repeated.pairs = np.concatenate([repeated.pairs[:-1], repeated.pairs[:1, ::-1]])
    with pytest.raises(FacedistillError, match="listed 2 times"):
        evaluate_pairs(stored, repeated, resamples=0)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(4), "holds float64"),
        (np.ones((4, 2), int), "holds int64"),
        (np.ones((0, 2)), "holds float64"),
        (np.array([[{}]]), "no readable .npy"),
        (None, "does not exist"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path, array, message):
    path = tmp_path / "a.npy"
    if array is not None:
        np.save(path, array, allow_pickle=True)
    with pytest.raises(FacedistillError, match=message):
        open_stored(path)


def test_damaged_files_and_other_mirrored_ones_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((4, 2)))
    np.save(tmp_path / "b.npy", np.ones((3, 2)))
    with pytest.raises(FacedistillError, match="same images"):
        open_stored(tmp_path / "a.npy", tmp_path / "b.npy")
    (tmp_path / "c.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:-5])
    with pytest.raises(FacedistillError, match="no readable"):
        open_stored(tmp_path / "c.npy")
