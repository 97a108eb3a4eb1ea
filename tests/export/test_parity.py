import pytest
import torch

from facedistill.data.open import open_dataset
from facedistill.data.pairs.pair_set import PairSet
from facedistill.export.export import export_network
from tests.export.fake_target import faces


@pytest.fixture
def pairs():
    faces = open_dataset("procedural:identities=10,images=4,size=24")
    return PairSet.from_dataset(faces, 40, seed=0)


def test_cosines_are_those_of_each_face(network, runtime, tmp_path):
    runtime.noise = 0.02
    shown = faces(9)
    report = export_network(network, tmp_path / "a.fake", "fake", faces=shown)
    network_embedding = runtime.network(torch.from_numpy(shown)).embedding.detach().double()
    file_embedding = torch.from_numpy(runtime.embed(shown)).double()
    cosines = torch.cosine_similarity(network_embedding, file_embedding)
    assert report.parity.min_cosine == pytest.approx(cosines.min().item(), abs=1e-9)
    assert report.parity.mean_cosine == pytest.approx(cosines.mean().item(), abs=1e-9)
    largest = (network_embedding - file_embedding).abs().max().item()
    assert report.parity.max_abs_diff == pytest.approx(largest, rel=1e-6)
    assert cosines.min() < 0.99999


def test_accuracy_is_compared_on_the_same_pairs(network, runtime, pairs, tmp_path):
    report = export_network(network, tmp_path / "a.fake", "fake", pairs=pairs)
    assert report.accuracy.file == report.accuracy.network
    assert report.accuracy.difference.difference == 0
    assert "difference +0.00" in report.line()
    assert pairs.name in report.line()
