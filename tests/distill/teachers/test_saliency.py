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
from facedistill.distill.teachers.centres import class_centres, first_of_each
from facedistill.distill.teachers.saliency import mean_norms, saliency_map, scaled_to_top
from facedistill.distill.teachers.teacher_pass import answers
from facedistill.models.face_network import FaceNetwork
from facedistill.models.outputs import Outputs
from facedistill.runtime.input_spec import InputSpec
from tests.distill.conftest import Faces, embed


class Raw:
    """A teacher by hand that is no torch module: means of colour over quarters, some pixels."""

    name, fingerprint, embedding_size = "raw", "a" * 32, 6
    gives = frozenset({"embedding", "feature_map"})
    input = InputSpec(size=8)

    def __call__(self, images, needs=("embedding",)):
        quarters = (
            (images - 100.0).permute(0, 3, 1, 2).double().unflatten(3, (2, 4)).unflatten(2, (2, 4))
        )
        return Outputs(
            embedding=torch.from_numpy(embed(images.numpy())),
            feature_map=quarters.mean(dim=(3, 5)),
        )


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
    """Says the same of each place."""

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


class Corrupt(Faces):
    """Of the first `bad` pictures there is nothing left."""

    bad = 1

    def encoded(self, index):
        return b"gone" if index < self.bad else super().encoded(index)


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


def test_a_torch_network_is_asked_in_evaluation_mode_without_gradient(faces):
    network = FaceNetwork.create("mobilefacenet", InputSpec(size=16), width=0.25).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ((labels, outputs),) = answers(
        network, faces, np.arange(3), {"feature_map"}, description="faces"
    )
    assert labels.tolist() == [0, 1, 2]
    assert not outputs.feature_map.requires_grad
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_class_centres_are_normalised_means(tmp_path, faces):
    centres = class_centres(Raw(), faces, tmp_path / "strong.onnx")
    for identity in range(3):
        rows = embed(np.stack([faces[i].image for i in np.flatnonzero(faces.labels == identity)]))
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(axis=0)
        np.testing.assert_allclose(centres[identity], mean / np.linalg.norm(mean), atol=1e-6)
    assert next(tmp_path.iterdir()).name.startswith("strong-centres-")


def test_the_first_images_of_each_identity_make_its_centre():
    labels = np.array([2, 0, 2, 2, -1, 0, 1, 2])
    assert first_of_each(labels, 2).tolist() == [0, 1, 2, 5, 6]
    assert first_of_each(labels, 9).tolist() == [0, 1, 2, 3, 5, 6, 7]


def test_an_identity_without_an_image_is_named(tmp_path):
    with pytest.raises(FacedistillError, match="identity 0 of faces has no mean embedding by raw"):
        class_centres(Raw(), Corrupt(range(3), labels=[0, 1, 1]), tmp_path / "strong.onnx")
