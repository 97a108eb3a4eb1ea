import copy
import json
import sys

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import EngineUnavailable, ExportOptions
from facedistill.export.targets.coreml import coreml_file as target
from tests.export.small_network import embeddings, faces, least_cosine, small_network
from tests.export.targets.coreml.coreml_program import Program

OPTIONS = {
    "uint8": ExportOptions(batch=1),
    "float": ExportOptions(input="float", batch=1),
}
MODEL = ("Data", "com.apple.CoreML", "model.mlmodel")


def field(number: int, content: bytes) -> bytes:
    """Return a field of bytes as protocol buffers write it."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number: int) -> bytes:
    return bytes([number & 127 | 128]) + varint(number >> 7) if number > 127 else bytes([number])


def package(folder, specification: bytes):
    file = folder.joinpath("a.mlpackage", *MODEL)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(specification)
    return folder / "a.mlpackage"


def carrying(document: bytes, key=b"facedistill") -> bytes:
    other = field(100, field(1, b"author") + field(2, b"someone"))
    entry = field(100, field(1, key) + field(2, document))
    metadata = field(1, b"a network") + other + entry
    return varint(1 << 3) + varint(6) + field(2, field(1, b"input") + field(100, metadata))


@pytest.fixture(scope="module")
def network():
    return small_network(steepest=1.5)


@pytest.fixture(scope="module", params=OPTIONS)
def written(request, network, tmp_path_factory):
    pytest.importorskip("coremltools", reason="needs the extra coreml")
    path = tmp_path_factory.mktemp("coreml") / "a.mlpackage"
    target.write(copy.deepcopy(network), path, OPTIONS[request.param])
    return request.param, path


def test_packages_hold_the_network(network, written):
    kind, path = written
    images = faces(3)
    planes = images.transpose(0, 3, 1, 2).astype(np.float32)
    if kind == "float":
        mean, std = (
            np.array(values)[:, None, None] for values in (network.input.mean, network.input.std)
        )
        planes = ((planes[:, ::-1] - mean) / std).astype(np.float32)
    program = Program(path)
    embedding = np.concatenate([program(each[None]) for each in planes])
    assert least_cosine(embeddings(network, images), embedding) > 1 - 1e-4  # computed in float16


def test_packages_carry_their_document_and_can_be_read_by_all(network, written):
    kind, path = written
    expected = exported_metadata(network, OPTIONS[kind], precision="float16")
    assert target.read_metadata(path) == expected
    mode = path.stat().st_mode & 0o777
    assert {part.stat().st_mode & 0o777 for part in path.rglob("*")} == {mode, mode & 0o666}


@pytest.mark.skipif(sys.platform == "darwin", reason="Core ML runs here")
def test_packages_do_not_run_off_macos(tmp_path):
    document = exported_metadata(small_network(), OPTIONS["uint8"], precision="float16")
    path = package(tmp_path, carrying(json.dumps(document).encode()))
    with pytest.raises(EngineUnavailable, match="runs on macOS alone"):
        target.open_engine(path)


@pytest.mark.parametrize("options", [ExportOptions(), ExportOptions(batch=2)])
def test_batches_of_images_are_refused(network, tmp_path, options):
    with pytest.raises(FacedistillError, match="one image at a time"):
        target.write(network, tmp_path / "a.mlpackage", options)


def test_documents_are_read_without_the_extra(tmp_path):
    long = json.dumps({"name": "x" * 40_000}).encode()
    assert target.read_metadata(package(tmp_path, carrying(long)))["name"] == "x" * 40_000
    assert target.read_metadata(package(tmp_path, carrying(b"{}", b"other"))) is None
    assert target.read_metadata(package(tmp_path, b"")) is None
    with pytest.raises(FacedistillError, match="does not exist"):
        target.read_metadata(tmp_path / "none.mlpackage")
    with pytest.raises(FacedistillError, match="not exported by facedistill"):
        target.open_engine(package(tmp_path, b""))


def test_damaged_packages_are_refused(tmp_path):
    whole = carrying(b'{"format": 1}')
    cut = (whole[:place] for place in range(3, len(whole)))
    for damaged in (
        *cut,
        b"\xff" * 40,
        b"\x12\xff\xff\xff\xff\x0f",
        b"\x0f",
        carrying(b"\xff\xfe"),
    ):
        with pytest.raises(FacedistillError, match="not a usable Core ML package"):
            target.read_metadata(package(tmp_path, damaged))
    with pytest.raises(FacedistillError, match="damaged facedistill metadata"):
        target.read_metadata(package(tmp_path, carrying(b"[")))
    (tmp_path / "b.mlpackage").mkdir()
    with pytest.raises(FacedistillError, match="not a usable Core ML package"):
        target.read_metadata(tmp_path / "b.mlpackage")
