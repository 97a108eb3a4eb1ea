import numpy as np
import torch

from facedistill.models.centring import Centre, CentredNetwork, centred
from facedistill.models.face_network import FaceNetwork
from facedistill.models.inference import comparison_embedding, embed_images
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8)


def network(centre=None):
    torch.manual_seed(0)
    made = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=8).eval()
    made.centre = centre
    return made


def views():
    """Embeddings of the images and their mirror images, not centred, float64."""
    with torch.no_grad():
        return [
            network()(torch.from_numpy(each.copy())).embedding.double().numpy()
            for each in (IMAGES, IMAGES[:, :, ::-1])
        ]


def test_a_direction_loses_the_mean_and_a_length_stays():
    plain, _ = views()
    mean = np.linspace(-0.1, 0.2, 8)
    expected = np.stack([each - np.linalg.norm(each) * mean for each in plain])
    found = centred(torch.from_numpy(plain), torch.from_numpy(mean)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    unit = plain / np.linalg.norm(plain, axis=1, keepdims=True) - mean
    cosines = (found * unit).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(unit, axis=1)
    np.testing.assert_allclose(cosines, 1)
    tenfold = centred(torch.from_numpy(10 * plain), torch.from_numpy(mean)).numpy()
    np.testing.assert_allclose(tenfold, 10 * found, rtol=1e-12)


def test_each_view_is_centred_before_the_views_are_added():
    mean = torch.linspace(-0.2, 0.3, 8)
    plain, flipped = views()
    lengths = sum(np.linalg.norm(each, axis=1, keepdims=True) for each in (plain, flipped))
    expected = plain + flipped - lengths * mean.double().numpy()
    student = network(mean)
    wrapped = CentredNetwork(network(), Centre(mean, "faces", 2))
    for each in (student, wrapped):
        rows = embed_images(each, IMAGES.__getitem__, 6, threads=0)
        np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-5)
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(student.embed(IMAGES).numpy(), unit, atol=1e-5)
    images = torch.from_numpy(IMAGES)
    with torch.no_grad():
        alone = comparison_embedding(student, images, flip=False).numpy()
    single = plain - np.linalg.norm(plain, axis=1, keepdims=True) * mean.double().numpy()
    single /= np.linalg.norm(single, axis=1, keepdims=True)
    np.testing.assert_allclose(alone, single, atol=1e-5)


def test_a_centre_is_a_part_of_the_network():
    mean = torch.full((8,), 0.25)
    assert network(mean).fingerprint != network().fingerprint
    other = network(torch.zeros(8))
    other.load_weights(network(mean).weights())
    assert torch.equal(other.centre, mean)
    assert other.fingerprint == network(mean).fingerprint
