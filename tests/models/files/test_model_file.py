import json
import resource
import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

import facedistill
from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import describe, load_model, save_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.runtime.input_spec import InputSpec


@pytest.fixture
def network() -> FaceNetwork:
    spec = InputSpec(size=32, color="BGR", mean=(1, 2, 3), std=(4, 5, 6))
    network = FaceNetwork.create("mobilefacenet", spec, width=0.25, embedding_size=16)
    network(torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8))
    return network


@pytest.fixture
def path(network, tmp_path):
    save_model(network, tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def test_round_trip(network, tmp_path):
    metadata = ModelMetadata(
        name="small",
        thresholds={"1e-3": 0.31},
        teacher="big",
        teacher_licence="non-commercial",
        data_licence="research",
        recipe_hash="abc",
        metrics={"lfw": 0.99},
    )
    path = tmp_path / "net.safetensors"
    save_model(network, path, metadata=metadata)
    loaded = facedistill.load(path)
    assert loaded.metadata == metadata
    assert loaded.name == "small"
    assert loaded.input == network.input
    assert loaded.fingerprint == network.fingerprint
    assert not loaded.training
    images = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8)
    torch.testing.assert_close(loaded.embed(images), network.embed(images), rtol=0, atol=0)
    assert loaded.backbone.conv_3.model[0].conv.conv.weight.is_contiguous(
        memory_format=torch.channels_last
    )


@pytest.mark.parametrize(
    ("thresholds", "reason"),
    [
        ({"1e-3": 3.0}, "3 at FAR 1e-3 is not a cosine"),
        ({"1e-3": float("nan")}, "finite number"),
        ({"7": 0.3}, "7 is no false accept rate"),
        ({"often": 0.3}, "could not convert"),
    ],
)
def test_thresholds_that_decide_nothing_are_refused(network, tmp_path, thresholds, reason):
    metadata = ModelMetadata.model_construct(thresholds=thresholds)
    save_model(network, tmp_path / "net.safetensors", metadata=metadata)
    with pytest.raises(FacedistillError, match=rf"net\.safetensors .*thresholds.*{reason}"):
        load_model(tmp_path / "net.safetensors")


def test_equal_networks_make_equal_files(path, tmp_path):
    # safetensors writes a header of several entries in another order every time
    for number in range(10):
        again = tmp_path / f"{number}" / path.name
        save_model(load_model(path), again, metadata=load_model(path).metadata)
        save_model(load_model(again), path)
        assert again.read_bytes() == path.read_bytes()


def test_loaded_network_trains(path):
    loaded = load_model(path).train()
    loaded(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).embedding.sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


def test_name_defaults_to_the_file(path):
    assert load_model(path).name == "net"


def test_half_precision_weights_are_stored_in_float32(network, tmp_path):
    network.backbone.half()
    save_model(network, tmp_path / "half.safetensors")
    assert load_model(tmp_path / "half.safetensors").backbone.linear.weight.dtype == torch.float32


def refused(path, message):
    with pytest.raises(FacedistillError, match=message) as error:
        load_model(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_absent_file(tmp_path):
    refused(tmp_path / "none.safetensors", "does not exist")


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_truncated_file(path, size):
    path.write_bytes(path.read_bytes()[:size])
    refused(path, "not a readable safetensors file")


def test_wrong_kind_of_file(path):
    path.write_bytes(b"PK\x03\x04" + bytes(1000))
    refused(path, "not a readable safetensors file")


def test_header_that_claims_more_than_the_file_has(path):
    path.write_bytes(struct.pack("<Q", 2**62) + path.read_bytes()[8:])
    refused(path, "not a readable safetensors file")


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(3)}, path)
    refused(path, "holds no network: facedistill did not write it")


def rewrite(path, network, *, document=None, tensors=None):
    whole = describe(network, ModelMetadata())
    whole.update(document or {})
    weights = load_file(path)
    weights.update(tensors or {})
    weights = {key: value for key, value in weights.items() if value is not None}
    save_file(weights, path, metadata={"facedistill": json.dumps(whole)})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"architecture": "mobilfacenet"}, "did you mean 'mobilefacenet'"),
        ({"architecture": ["a"]}, "header"),
        ({"arguments": {"width": 1e9}}, "width"),
        ({"arguments": {"width": 0.25, "embedding_size": 16, "input_size": 64}}, "header"),
        ({"arguments": [1]}, "header"),
        ({"input": {"size": 32, "colour": "RGB"}}, "colour"),
        ({"input": 3}, "header"),
        ({"metadata": {"licence": "x"}}, "header"),
        ({"embedding_size": 17}, "embedding size 17"),
        ({"format_version": 2}, "format version 2; this facedistill reads 3"),
        ({"format_version": 4}, "format version 4"),
        ({"format_version": None}, "format version None"),
        ({"prompts": 2}, "holds prompts of a teacher and no network: give it as --prompts"),
        ({"people": "x"}, "holds a class head and no network: give the model file beside it"),
    ],
)
def test_wrong_documents(path, network, document, message):
    rewrite(path, network, document=document)
    refused(path, message)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_damaged_documents(path, text):
    save_file(load_file(path), path, metadata={"facedistill": text})
    refused(path, "not a JSON object")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"linear.weight": None}, "lacks weight linear.weight"),
        ({"extra": torch.zeros(1)}, "has weight extra"),
        ({"linear.weight": torch.zeros(16, 511)}, "linear.weight is F32"),
        ({"linear.weight": torch.zeros(16, 512, dtype=torch.float64)}, "is F64"),
        ({"bn.running_var": torch.full((16,), float("nan"))}, "bn.running_var .* not finite"),
        ({"bn.bias": torch.full((16,), float("inf"))}, "bn.bias .* not finite"),
    ],
)
def test_wrong_weights(path, network, tensors, message):
    rewrite(path, network, tensors=tensors)
    refused(path, message)


def test_a_finite_weight_that_was_not_written_is_refused(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    refused(path, "is damaged: its weights or header are not those written")


def test_a_file_without_its_checksum_is_refused(path, network):
    rewrite(path, network)
    refused(path, "is damaged")


def test_disk_full_keeps_the_old_file(network, path):
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(FacedistillError, match=r"cannot write .*net\.safetensors"):
            save_model(network, path, metadata=ModelMetadata(name="other"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_diverged_network_is_not_saved(network, path):
    before = path.read_bytes()
    with torch.no_grad():
        network.backbone.bn.bias[0] = float("nan")
    with pytest.raises(FacedistillError, match=r"bn\.bias"):
        save_model(network, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_suffix_is_checked(network, tmp_path):
    with pytest.raises(FacedistillError, match="safetensors"):
        save_model(network, tmp_path / "net.pt")
