import numpy as np
import pytest
import torch

from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.landmark_dataset import LandmarkDataset
from facedistill.data.labels import Subset
from facedistill.data.open import open_dataset
from facedistill.data.pairs.pair_set import PairSet
from facedistill.experiments.measurement import fingerprint, measure, read_measurement, truth_of
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.recipe.schema import PairsRecipe
from facedistill.runtime.input_spec import InputSpec
from tests.data.formats.landmark_files import CROP, write_images


@pytest.mark.parametrize("view", [lambda faces: faces, lambda faces: Subset(faces, range(150))])
def test_a_corrected_landmark_anywhere_is_another_test(tmp_path, view):
    write_images(tmp_path, ["1.png"])
    files = [str(tmp_path / "1.png")] * 200
    points = np.repeat(CROP[None], 200, axis=0)

    def marked(points) -> FaceDataset:
        return view(LandmarkDataset("list", files, points, [""] * 200))

    known = fingerprint(marked(points), None)
    assert fingerprint(marked(points.copy()), None) == known
    for index in range(100, 110):
        corrected = points.copy()
        corrected[index, 0, 0] += 0.5
        assert fingerprint(marked(corrected), None) != known


def test_labelled_faces_are_resampled_by_identity():
    truth = truth_of(open_dataset("procedural:identities=2,images=3,size=16,loose=1"))
    assert truth.identities.tolist() == [[0, 0]] * 3 + [[1, 1]] * 3


def test_all_pairs_of_a_list_are_measured_in_place_of_the_list(tmp_path):
    faces = open_dataset("procedural:identities=20,images=2,size=24")
    pairs = PairSet("drawn", faces, np.arange(40).reshape(20, 2), np.ones(20, bool))
    network = FaceNetwork.create("mobilefacenet", InputSpec(size=32), width=0.125)
    save_model(network, tmp_path / "best.safetensors")
    recipe = PairsRecipe(pairs="drawn.bin", all_pairs=True)
    found = measure(tmp_path, "drawn", pairs, recipe, torch.device("cpu"))
    assert found.report["protocol"] == "all_pairs"
    assert (found.report["genuine"], found.report["impostors"]) == (20, 40 * 36 // 2)
    assert found.items is None
    again = read_measurement(tmp_path, "drawn", fingerprint(pairs, recipe))
    assert (again.report, again.items) == (found.report, None)
    assert read_measurement(tmp_path, "drawn", fingerprint(pairs, None)) is None
