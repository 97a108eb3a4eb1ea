import copy

import numpy as np
import pytest
import torch
from torch import nn

from facedistill.core.errors import FacedistillError
from facedistill.distill.objectives.cross_architecture.pixel_features import (
    PixelFeatures,
    find_pixel_features,
)
from facedistill.distill.teachers import saliency
from facedistill.distill.teachers.saliency import mean_norms, saliency_map, scaled_to_top
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.distill.conftest import Faces
from tests.distill.teachers.by_hand import Corrupt, Raw

PIXELS = PixelFeatures("feature_map", 3, 2)


def norms_by_hand(faces, indices):
    total = np.zeros((2, 2))
    for index in indices:
        image = faces[index].image - 100.0
        for y in range(2):
            for x in range(2):
                mean = image[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean(axis=(0, 1))
                total[y, x] += np.sqrt((mean**2).sum())
    return total / len(indices)


def test_it_is_the_mean_norm_scaled(tmp_path, faces):
    assert find_pixel_features(Raw()) == PIXELS
    norms = norms_by_hand(faces, range(10))
    np.testing.assert_allclose(mean_norms(Raw(), PIXELS, faces), norms, rtol=1e-9)
    found = saliency_map(Raw(), PIXELS, faces, tmp_path / "teacher.onnx")
    wanted = 6 * (norms - norms.min()) / (norms.max() - norms.min())
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert (float(found.min()), float(found.max())) == (0, 6)


def last_tokens(network, images):
    """Of the network without the norm, which there is none to leave out of, (B, N, C)."""
    bare = copy.deepcopy(network).eval()
    bare.backbone.norm = nn.Identity()
    with torch.no_grad():
        return bare(images, {"tokens"}).tokens


@pytest.mark.parametrize("architecture", ["swin_nano", "vit_t"])
def test_tokens_are_measured_before_their_last_norm(architecture):
    network = FaceNetwork.create(architecture, InputSpec(size=32), embedding_size=4)
    faces = Faces(range(3), size=32)
    images = torch.from_numpy(np.stack([faces[i].image for i in range(3)]))
    pixels = find_pixel_features(network)
    before = network.eval()(images, {"tokens"}).tokens
    wanted = last_tokens(network, images).norm(dim=2).mean(0).unflatten(0, (pixels.side, -1))
    found = mean_norms(network, pixels, faces)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert torch.equal(network(images, {"tokens"}).tokens, before)


def test_a_strong_place_is_seen_through_a_norm_that_makes_all_places_alike(tmp_path):
    network = FaceNetwork.create("vit_t", InputSpec(size=32), embedding_size=4)
    with torch.no_grad():
        network.backbone.pos_embed[0, 5] *= 1000
    faces = Faces(range(3), size=32)
    found = saliency_map(network, find_pixel_features(network), faces, tmp_path / "vit.safetensors")
    assert int(found.argmax()) == 5
    assert found.flatten().sort().values[-2] < 1


def test_a_network_that_is_as_strong_everywhere_is_warned_of_each_time(tmp_path, faces):
    pixels = PixelFeatures("feature_map", 3, 2)
    for _ in range(2):
        with pytest.warns(UserWarning, match=r"even are about as strong .* over 0.00% of its mean"):
            found = saliency_map(Even(), pixels, faces, tmp_path / "teacher.onnx")
        assert torch.equal(found, torch.zeros(2, 2))


class Even(Raw):
    """Gives the same features at each place."""

    name = "even"

    def __call__(self, images, needs=("embedding",)):
        return Outputs(feature_map=torch.ones(len(images), 3, 2, 2))


def test_it_is_kept_beside_the_teacher_for_these_weights_and_faces(tmp_path, faces, monkeypatch):
    first = saliency_map(Raw(), PIXELS, faces, tmp_path / "strong.onnx")
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("strong-saliency-")
    monkeypatch.setattr(saliency, "mean_norms", None)  # it is not computed again
    assert torch.equal(first, saliency_map(Raw(), PIXELS, faces, tmp_path / "strong.onnx"))
    for network, others in ((Other(), faces), (Raw(), Faces(range(9)))):
        with pytest.raises(TypeError):
            saliency_map(network, PIXELS, others, tmp_path / "strong.onnx")


class Other(Raw):
    fingerprint = "b" * 32


def test_of_many_faces_some_are_looked_at(faces, monkeypatch):
    monkeypatch.setattr(saliency, "FACES", 4)
    np.testing.assert_allclose(
        mean_norms(Raw(), PIXELS, faces), norms_by_hand(faces, [0, 2, 5, 7]), rtol=1e-9
    )


def test_a_map_without_features_is_flat():
    assert torch.equal(scaled_to_top(torch.full((2, 2), 3.0)), torch.zeros(2, 2))


def test_corrupt_images_are_left_out():
    faces = Corrupt(range(4))
    np.testing.assert_allclose(
        mean_norms(Raw(), PIXELS, faces), norms_by_hand(faces, [1, 2, 3]), rtol=1e-9
    )
    faces.bad = 4
    with pytest.raises(FacedistillError, match="no image of faces decodes"):
        mean_norms(Raw(), PIXELS, faces)


def test_faces_that_are_not_square_are_named_and_not_left_out(faces, monkeypatch):
    decode = Faces.__getitem__
    monkeypatch.setattr(
        Faces,
        "__getitem__",
        lambda self, index: (s := decode(self, index))._replace(image=s.image[: 8 - index]),
    )
    with pytest.raises(
        FacedistillError, match=r"is 8 x 7, and only square crops are scaled \(here"
    ):
        mean_norms(Raw(), PIXELS, faces)
