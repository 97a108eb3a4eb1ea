import copy
import json
import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.data.views.selection import evenly_spaced
from facedistill.export.export import export_network
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import ExportOptions
from facedistill.export.targets.onnx import onnx_file as module
from facedistill.export.targets.onnx.onnx_file import (
    open_engine,
    read_metadata,
    write,
    write_as_built,
)
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.file_digest import ENTRY
from facedistill.runtime.header import HEADER_KEY
from tests.export.small_network import SIDE, embeddings, faces, least_cosine, small_network

OPTIONS = {
    "uint8": ExportOptions(),
    "float": ExportOptions(input="float", normalise=True),
    "fixed": ExportOptions(batch=3),
}


@pytest.fixture(scope="module")
def network() -> FaceNetwork:
    network = small_network().train()
    network.metadata = ModelMetadata(training_data="5 faces")
    return network


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    return export_network(network, path, faces=faces(5))


@pytest.fixture(scope="module")
def files(network, exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("options")
    written = {"uint8": exported.path}
    for kind in ("float", "fixed"):
        written[kind] = folder / f"{kind}.onnx"
        write(copy.deepcopy(network).eval(), written[kind], OPTIONS[kind])
    return written


def answer(path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": images})[0]


def torch_embedding(network: FaceNetwork, images: np.ndarray) -> np.ndarray:
    training = network.training
    embedding = embeddings(network.eval(), images)
    network.train(training)
    return embedding


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_embeddings_are_those_of_torch_for_any_number_of_faces(network, exported, batch):
    images = faces(batch)
    expected, embedding = torch_embedding(network, images), answer(exported.path, images)
    np.testing.assert_allclose(embedding, expected, rtol=1e-4, atol=1e-5)


def test_file_gives_the_embeddings_of_torch_on_real_faces(real_data, tmp_path):
    torch.manual_seed(0)
    network = FaceNetwork.create("mobilefacenet", width=0.5)
    images = evenly_spaced(open_dataset(str(real_data / "celeba112")), 48, 112)
    for part in network.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.momentum = 1.0  # statistics of these faces, so that embeddings differ
    with torch.no_grad():
        network.train()(torch.from_numpy(images))
    path = export_network(network, tmp_path / "student.onnx", faces=images).path
    expected, embedding = torch_embedding(network, images), answer(path, images)
    assert least_cosine(expected, embedding) > 1 - 1e-5
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert (unit @ unit.T).min() < 0.9  # faces whose embeddings differ


def test_report_describes_what_was_written(exported):
    assert exported.bytes == exported.path.stat().st_size
    assert exported.parity.faces == 5
    assert "student.onnx" in exported.line()
    assert 1 - 1e-5 <= exported.parity.min_cosine <= exported.parity.mean_cosine <= 1 + 1e-9
    assert exported.parity.max_abs_diff < 1e-4
    assert onnx.load(exported.path).opset_import[0].version == 18


def test_export_leaves_network_in_training_mode(network, exported):
    assert all(part.training for part in network.modules())


def test_metadata_describe_the_input_of_the_file(network, exported):
    properties = {p.key: p.value for p in onnx.load(exported.path).metadata_props}
    assert set(properties) == {HEADER_KEY, ENTRY}
    document = json.loads(properties[HEADER_KEY])
    assert document["format"] == 1
    assert document["input"] == {
        "kind": "uint8_nhwc_rgb",
        "size": SIDE,
        "color": "BGR",
        "mean": [100.0, 110.0, 120.0],
        "std": [50.0, 60.0, 70.0],
    }
    assert document["embedding_size"] == 6
    assert document["batch"] is None
    assert document["normalised"] is False
    assert document["training_data"] == "5 faces"
    assert set(document) >= {"thresholds", "licences", "recipe_hash", "library_version"}


@pytest.mark.parametrize("kind", OPTIONS)
def test_file_opens_as_a_network_without_further_options(network, files, kind):
    path, options = files[kind], OPTIONS[kind]
    images = faces(4)
    wanted = torch_embedding(network, images)
    if options.normalise:
        wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    reopened = OnnxNetwork(path, threads=1)
    assert reopened.input == network.input
    assert reopened.batch == options.batch
    embedding = reopened(torch.from_numpy(images)).embedding.numpy()
    np.testing.assert_allclose(embedding, wanted, rtol=1e-4, atol=1e-5)
    engine = open_engine(path, threads=1)
    assert engine.batch == options.batch
    np.testing.assert_allclose(engine.embed(images), wanted, rtol=1e-4, atol=1e-5)
    assert read_metadata(path) == exported_metadata(network, options)


def test_the_document_is_read_without_a_runtime(exported, tmp_path, monkeypatch):
    monkeypatch.delattr(onnxruntime, "InferenceSession")
    assert read_metadata(exported.path)["name"]
    foreign = onnx.load(exported.path)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    assert read_metadata(tmp_path / "foreign.onnx") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        (b"", "holds no weights: it is empty"),
        (b"no graph", "is not a usable ONNX file: "),
        (b":\0r\x10\n\x0bfacedistill\x12\x01\xff", "has no digest"),
    ],
    ids=["absent", "empty", "text", "no digest"],
)
def test_what_is_no_onnx_file_has_no_document(tmp_path, content, reason):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FacedistillError, match=rf"a\.onnx:? {reason}"):
        read_metadata(path)


def test_prelus_are_maxima_but_for_converters(network, exported, tmp_path):
    operators = [node.op_type for node in onnx.load(exported.path).graph.node]
    assert "PRelu" not in operators
    path = tmp_path / "student.onnx"
    write_as_built(copy.deepcopy(network).eval(), path, ExportOptions())
    built = [node.op_type for node in onnx.load(path).graph.node]
    assert built.count("PRelu") == operators.count("Max") > 0
    np.testing.assert_allclose(answer(path, faces(3)), answer(exported.path, faces(3)), atol=1e-5)


def test_a_file_is_of_a_version_that_runtimes_of_years_ago_read(exported):
    model = onnx.load(exported.path)
    assert model.ir_version == 8
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18}


def test_file_is_alone_and_names_no_source_path(exported):
    assert [entry.name for entry in exported.path.parent.iterdir()] == ["student.onnx"]
    assert b".py" not in exported.path.read_bytes()


def test_batch_norm_is_folded_into_convolutions(exported):
    operators = {node.op_type for node in onnx.load(exported.path).graph.node}
    assert "BatchNormalization" not in operators


def test_wrong_size_is_refused_by_the_runtime_with_both_sizes(exported):
    with pytest.raises(Exception, match=r"Got: 17 Expected: 16"):
        answer(exported.path, np.zeros((1, 17, 17, 3), dtype=np.uint8))


def test_without_preprocessing_normalised_planes_go_in_and_unit_vectors_come_out(network, files):
    path = files["float"]
    images = faces(2)
    planes = images[..., ::-1].astype(np.float32)  # the network is BGR
    planes = (planes - (100.0, 110.0, 120.0)) / (50.0, 60.0, 70.0)
    embedding = answer(path, planes.transpose(0, 3, 1, 2).astype(np.float32))
    raw = torch_embedding(network, images)
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(embedding, unit, rtol=1e-4, atol=1e-5)
    document = json.loads(onnx.load(path).metadata_props[0].value)
    assert document["input"]["kind"] == "float32_nchw"
    assert document["normalised"] is True


def test_a_file_that_fails_the_parity_check_is_not_written(
    network, exported, tmp_path, monkeypatch
):
    damaged = onnx.load(exported.path)
    values = {each.name: onnx.numpy_helper.to_array(each) for each in damaged.graph.initializer}
    (head,) = (each for each in damaged.graph.initializer if values[each.name].ndim == 2)
    head.CopyFrom(onnx.numpy_helper.from_array(values[head.name][::-1].copy(), head.name))
    monkeypatch.setattr(module, "_to_onnx", lambda *_: damaged)
    with pytest.raises(FacedistillError, match=r"student\.onnx: the ONNX file's .* differs"):
        export_network(network, tmp_path / "student.onnx")
    assert not list(tmp_path.iterdir())


def test_exporter_is_quiet(network, tmp_path, capfd, recwarn, caplog):
    with caplog.at_level(logging.WARNING):
        write(copy.deepcopy(network).eval(), tmp_path / "student.onnx", ExportOptions())
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    assert not caplog.records
    assert not list(recwarn)
