import numpy as np
import pytest
import torch

import facedistill
from facedistill.core.errors import FacedistillError
from facedistill.export.export import export_network
from facedistill.export.target import ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files import model_file
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.heads.landmark_head import LandmarkHead
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network


def finder(points=5, architecture="standin", **arguments):
    torch.manual_seed(0)
    arguments = {"embedding_size": 8, **arguments}
    return FaceNetwork.create(architecture, InputSpec(size=16), landmarks=points, **arguments)


def faces(count=3, side=16):
    return torch.from_numpy(
        np.random.default_rng(1).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    )


def test_head_is_the_linear_map_it_says():
    head = LandmarkHead(6, 4)
    embedding = torch.randn(3, 6)
    given = head(embedding)
    for face in range(3):
        for point in range(4):
            for axis in range(2):
                row = 2 * point + axis
                expected = sum(head.weight[row, d] * embedding[face, d] for d in range(6))
                torch.testing.assert_close(given[face, point, axis], expected + head.bias[row])


@pytest.mark.parametrize("points", [5, 68, 98])
def test_landmarks_are_given_when_asked(points):
    network = finder(points).eval()
    assert network.gives == {"embedding", "feature_map", "landmarks"}
    assert network.landmark_points == points
    assert network(faces()).landmarks is None
    outputs = network(faces(), ("landmarks",))
    assert outputs.landmarks.shape == (3, points, 2)
    torch.testing.assert_close(outputs.landmarks, network.landmark_head(outputs.embedding))
    torch.testing.assert_close(network.train().locate(faces().numpy()), outputs.landmarks)
    assert network.training


@pytest.mark.parametrize("divisor", [1, 2, 4, 8])
def test_every_resnet_can_have_one(divisor):
    with torch.device("meta"):
        network = finder(5, "resnet50", width_divisor=divisor)
    assert network.landmark_head.weight.shape == (10, 8)


def test_a_fresh_network_says_an_average_face():
    landmarks = finder().locate(faces(20))
    left, right, nose, mouth_left, mouth_right = landmarks.mean(dim=0)
    assert left[0] < nose[0] < right[0]
    assert left[1] < nose[1] < mouth_left[1]
    assert mouth_left[0] < mouth_right[0]


def test_precision_stays_under_autocast():
    network = finder().eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = network(faces()).embedding
        landmarks = network.landmark_head(embedding.bfloat16())
    assert landmarks.dtype == torch.float32
    torch.testing.assert_close(landmarks, network.landmark_head(embedding.bfloat16().float()))


def test_networks_without_a_head_refuse():
    network = FaceNetwork.create("standin", InputSpec(size=16))
    assert (network.landmark_points, network.landmark_head) == (None, None)
    with pytest.raises(FacedistillError, match="cannot give landmarks"):
        network.locate(faces())


def test_model_file_keeps_the_head(tmp_path):
    network = finder(68)
    save_model(network, tmp_path / "a.safetensors")
    loaded = facedistill.load(tmp_path / "a.safetensors")
    assert loaded.fingerprint == network.fingerprint
    torch.testing.assert_close(loaded.locate(faces()), network.locate(faces()), rtol=0, atol=0)
    with torch.no_grad():
        network.landmark_head.bias[3] += 1
    assert loaded.fingerprint != network.fingerprint


def test_recognisers_have_the_files_and_fingerprints_they_had():
    plain = FaceNetwork.create("standin", InputSpec(size=16))
    assert set(plain.weights()) == set(plain.backbone.state_dict())
    assert "landmarks" not in model_file.describe(plain, plain.metadata)


@pytest.mark.parametrize(
    ("points", "message"),
    [(4, r"weight landmark_head\.weight is F32"), (0, "0 landmarks"), ("x", "'x' landmarks")],
)
def test_a_head_that_is_not_what_the_header_says_is_refused(tmp_path, monkeypatch, points, message):
    describe = model_file.describe
    monkeypatch.setattr(
        model_file, "describe", lambda *given: {**describe(*given), "landmarks": points}
    )
    save_model(finder(), tmp_path / "a.safetensors")
    with pytest.raises(FacedistillError, match=message):
        load_model(tmp_path / "a.safetensors")


def test_a_network_without_a_head_does_not_take_the_file_of_one_with(tmp_path, monkeypatch):
    describe = model_file.describe
    monkeypatch.setattr(
        model_file,
        "describe",
        lambda *given: {k: v for k, v in describe(*given).items() if k != "landmarks"},
    )
    save_model(finder(), tmp_path / "a.safetensors")
    with pytest.raises(FacedistillError, match=r"has weight landmark_head\.bias, which standin"):
        load_model(tmp_path / "a.safetensors")


@pytest.mark.parametrize(("points", "batch"), [(5, 7), (68, 1)])
def test_onnx_file_gives_the_same_landmarks(tmp_path, points, batch):
    network = finder(points)
    network.train()(faces(16))
    report = export_network(
        network, tmp_path / "a.onnx", options=ExportOptions(normalise=points == 68)
    )
    assert report.parity.min_cosine > 1 - 1e-6
    exported = OnnxNetwork(tmp_path / "a.onnx")
    assert exported.gives == {"embedding", "landmarks"}
    assert exported.landmark_points == points
    assert exported.embedding_size == 8
    images = faces(batch, 24)
    torch.testing.assert_close(
        exported.locate(images.numpy()), network.locate(images), rtol=0, atol=1e-5
    )
    assert exported(images).landmarks is None
    assert exported(images[:0], ("landmarks",)).landmarks.shape == (0, points, 2)


def test_onnx_files_of_recognisers_refuse(tmp_path):
    export_network(FaceNetwork.create("standin", InputSpec(size=16)), tmp_path / "a.onnx")
    exported = OnnxNetwork(tmp_path / "a.onnx")
    assert exported.gives == {"embedding"}
    with pytest.raises(FacedistillError, match="cannot give landmarks; it gives embedding"):
        exported.locate(faces())
