import copy
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.views.selection import evenly_spaced
from facedistill.export.target import ExportOptions
from facedistill.export.targets.onnx_int8 import int8_file
from facedistill.export.targets.onnx_int8.int8_file import (
    LEAST_FACES,
    open_engine,
    read_metadata,
    write,
)
from facedistill.models.face_network import FaceNetwork
from facedistill.runtime.file_digest import ENTRY
from facedistill.runtime.header import HEADER_KEY
from facedistill.runtime.input_spec import InputSpec
from tests.export.int8.graphs import Builder
from tests.export.small_network import faces as small_faces
from tests.export.small_network import small_network

SIDE = 32
IDENTITIES = 6


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """Of identity after identity, 12 images each."""
    source = f"procedural:identities={IDENTITIES},images=12,size={SIDE}"
    return evenly_spaced(open_dataset(source), IDENTITIES * 12, SIDE)


def trained(faces: np.ndarray, architecture: str, spec: InputSpec, **arguments) -> FaceNetwork:
    """Return a network that distinguishes the identities, after a few steps."""
    torch.manual_seed(0)
    network = FaceNetwork.create(architecture, spec, embedding_size=128, **arguments)
    centres = torch.nn.Parameter(torch.randn(IDENTITIES, 128))
    optimizer = torch.optim.AdamW([*network.parameters(), centres], lr=3e-3)
    labels = torch.arange(IDENTITIES).repeat_interleave(12)
    images = torch.from_numpy(faces)
    for part in network.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.momentum = 0.5
    for _ in range(12):
        embedding = network.train()(images).embedding
        cosines = F.normalize(embedding) @ F.normalize(centres).T
        loss = F.cross_entropy(8 * cosines, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


@pytest.fixture(scope="module")
def network(faces) -> FaceNetwork:
    spec = InputSpec(size=SIDE, color="BGR")
    return trained(faces, "mobilefacenet", spec, width=0.25)


@pytest.fixture(scope="module")
def exported(network, faces, tmp_path_factory):
    path = tmp_path_factory.mktemp("int8") / "student.onnx"
    write(network, path, ExportOptions(calibration=faces[::2]))
    return path


def cosines(network: FaceNetwork, path, faces: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        expected = network(torch.from_numpy(faces)).embedding
    embedding = torch.from_numpy(open_engine(path, threads=1).embed(faces))
    return F.cosine_similarity(expected, embedding).numpy()


def kinds_run(path, folder) -> set[str]:
    """Return the operators that ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node}


def test_a_trained_network_stays_what_it_is_on_faces_not_calibrated_on(network, exported, faces):
    found = cosines(network, exported, faces[1::2])
    assert found.mean() > 0.98
    assert found.min() > 0.93


def test_everything_between_pixels_and_embedding_runs_in_integers(exported, tmp_path):
    assert kinds_run(exported, tmp_path) == {
        "QLinearConv", "QLinearAdd", "QGemm", "Max", "Transpose", "Reshape",
    }  # fmt: skip


def test_embeddings_do_not_depend_on_the_batch(exported, faces):
    engine = open_engine(exported, threads=1)
    alone = np.concatenate([engine.embed(face[None]) for face in faces[:7]])
    np.testing.assert_array_equal(engine.embed(faces[:7]), alone)


def test_file_carries_its_document(network, exported):
    document = read_metadata(exported)
    assert document["precision"] == "int8"
    assert document["input"] == {"kind": "uint8_nhwc_rgb", **network.input.to_dict()}
    model = onnx.load(exported)
    assert model.ir_version == 8
    entry, digest = model.metadata_props
    assert (entry.key, json.loads(entry.value)) == (HEADER_KEY, document)
    assert digest.key == ENTRY


def test_slopes_above_one_take_the_minimum(tmp_path):
    steep, path = small_network(steepest=2.5), tmp_path / "student.onnx"
    write(copy.deepcopy(steep), path, ExportOptions(calibration=small_faces(40)))
    assert cosines(steep, path, small_faces(20, seed=1)).mean() > 0.98
    run = kinds_run(path, tmp_path)
    assert {"Max", "Min", "Where"} <= run
    assert "PRelu" not in run


def test_a_residual_network_of_floats_in_unit_embeddings_out_and_a_fixed_batch(faces, tmp_path):
    network = trained(faces, "iresnet18", InputSpec(size=SIDE, color="BGR"), width=0.25)
    path = tmp_path / "student.onnx"
    options = ExportOptions(input="float", batch=4, normalise=True, calibration=faces[::2])
    write(network, path, options)
    assert onnxruntime.InferenceSession(path).get_inputs()[0].shape == [4, 3, SIDE, SIDE]
    embedding = open_engine(path, threads=1).embed(faces[:6])
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
    assert cosines(network, path, faces[1::2]).mean() > 0.98
    assert not {"PRelu", "BatchNormalization", "Conv", "Gemm"} & kinds_run(path, tmp_path)


@pytest.mark.parametrize("count", [None, LEAST_FACES - 1])
def test_too_few_faces_are_refused(network, faces, tmp_path, count):
    options = ExportOptions(calibration=None if count is None else faces[:count])
    with pytest.raises(
        FacedistillError, match=f"at least {LEAST_FACES} faces, and got {count or 0}"
    ):
        write(network, tmp_path / "student.onnx", options)
    assert not list(tmp_path.iterdir())


def test_a_network_of_other_layers_is_refused(network, faces, tmp_path, monkeypatch):
    build = Builder(SIDE, SIDE, 3)
    product = build.node("MatMul", "x", build.tensor(np.ones((3, 5000))))
    graph = build.graph(product)
    monkeypatch.setattr(int8_file, "_floating_graph", lambda *_: graph)
    with pytest.raises(FacedistillError, match=f"0% of the weights of {network.name}: export"):
        write(network, tmp_path / "student.onnx", ExportOptions(calibration=faces))
