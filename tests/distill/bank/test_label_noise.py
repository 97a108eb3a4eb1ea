import math

import numpy as np
import pytest

from facedistill.distill.bank import label_noise
from facedistill.distill.bank.label_noise import find_label_noise, nearest_other
from facedistill.distill.bank.writing import import_bank
from tests.distill.conftest import Faces, info_of
from tests.distill.objectives.by_hand import dot, unit


def made(tmp_path, embeddings, labels):
    faces = Faces(range(len(labels)), labels=labels)
    embeddings = np.asarray(embeddings, np.float32)
    info = info_of(faces, views=("plain",), dimension=embeddings.shape[1])
    return faces, import_bank(embeddings, faces, tmp_path / "bank", info=info)


def on_circle(*degrees):
    return [[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees]


@pytest.mark.parametrize("cosines", [1, 3, 1 << 24])
def test_a_wrong_label_is_compared_with_the_others_alone(tmp_path, monkeypatch, cosines):
    monkeypatch.setattr(label_noise, "_MOST_COSINES", cosines)
    # Identity 0 is at 0 degrees with a wrong image at 90, identity 1 at 100; 2 has one image.
    faces, bank = made(tmp_path, on_circle(0, 0, 90, 100, 100, 200), [0, 0, 0, 1, 1, 2])
    noise = find_label_noise(bank, faces)
    # The others of an image at 0 degrees are at 0 and 90: their mean is at 45.
    expected = [math.sqrt(0.5), math.sqrt(0.5), 0, 1, 1]
    np.testing.assert_allclose(noise.images[:5], expected, atol=2e-3)
    assert np.isnan(noise.images[5])
    assert noise.farthest(0.2).tolist() == [2]
    assert noise.farthest(0.9).tolist()[0] == 2
    assert sorted(noise.farthest(0.9).tolist()) == [0, 1, 2]
    others, cosines = nearest_other(noise, bank, np.array([2, 5]), faces.labels)
    assert others.tolist() == [1, 1]
    np.testing.assert_allclose(cosines, [math.cos(math.radians(10)), math.cos(math.radians(100))],
                               atol=1e-3)  # fmt: skip


def test_pairs_come_once_and_nearest_first(tmp_path):
    faces, bank = made(tmp_path, on_circle(0, 50, 10, 92), [0, 1, 2, 3])
    noise = find_label_noise(bank, faces)
    assert noise.pairs.tolist() == [[0, 2], [1, 2], [1, 3], [0, 1], [2, 3], [0, 3]]
    angles = np.degrees(np.arccos(np.clip(noise.cosines, -1, 1)))
    np.testing.assert_allclose(angles, [10, 40, 42, 50, 82, 92], atol=1)


def test_a_pair_of_which_one_is_nearest_to_the_other_only_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(label_noise, "NEIGHBOURS", 1)
    faces, bank = made(tmp_path, on_circle(0, 10, 40), [0, 1, 2])
    assert find_label_noise(bank, faces).pairs.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize("block", [1, 4, 8192])
def test_images_are_compared_with_the_mean_of_their_identitys_other_images(
    tmp_path, monkeypatch, block
):
    monkeypatch.setattr(label_noise, "_BLOCK", block)
    rng = np.random.default_rng(3)
    labels = [0, 1, 2, 1, 0, 1, 2, 2, 2, 0]
    faces, bank = made(tmp_path, rng.normal(size=(10, 6)), labels)
    noise = find_label_noise(bank, faces)
    rows = bank.embeddings(np.arange(10)).astype(np.float64).tolist()
    for i, label in enumerate(labels):
        others = [rows[j] for j in range(10) if labels[j] == label and j != i]
        mean = unit([sum(column) for column in zip(*others, strict=True)])
        assert noise.images[i] == pytest.approx(dot(unit(rows[i]), mean), abs=2e-3)
