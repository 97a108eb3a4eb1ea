"""Exported ONNX files, damaged; and their documents, damaged before the digest was written."""

import json
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from facedistill.core.errors import FacedistillError
from facedistill.export.targets.onnx.onnx_file import read_metadata
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.runtime.file_digest import ENTRY, write_digest
from facedistill.runtime.header import HEADER_KEY
from facedistill.runtime.input_spec import InputSpec
from facedistill.runtime.recogniser import Recogniser
from tests.hostile.mutations import MEMORY, attempt, hostile, mutations, tally
from tests.models.onnx.graphs import SIDE, linear, node

SPEC = InputSpec(size=SIDE, color="BGR", mean=(100, 110, 120), std=(50, 60, 70))
DOCUMENT = {
    "format": 1,
    "input": {"kind": "uint8_nhwc_rgb", **SPEC.to_dict()},
    "batch": None,
    "embedding_size": 4,
    "thresholds": {"1e-3": 0.31, "1e-2": 0.2},
    "name": "student",
}
TEXT = json.dumps(DOCUMENT).encode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An exported file, and what is in it before the document."""
    folder = tmp_path_factory.mktemp("exported")
    path = linear(
        folder / "graph.onnx",
        {"embedding": 4},
        before=[node("Cast", "x", "c", to=TensorProto.FLOAT)],
        fed="c",
        shape=("b", SIDE, SIDE, 3),
        dtype=TensorProto.UINT8,
    )
    described(folder / "student.onnx", path.read_bytes(), TEXT)
    return folder


def described(path, graph, text):
    """Write a file whose document is any bytes, as a protobuf message has them."""
    entry = field(1, HEADER_KEY.encode()) + field(2, text)
    path.write_bytes(graph + field(14, entry))
    write_digest(path)


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(number):
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


@hostile
@given(data=st.data())
def test_a_damaged_file_is_refused(folder, data):
    whole = (folder / "student.onnx").read_bytes()
    ends = range(len(whole) - len(ENTRY) - len(TEXT) - 100, len(whole))
    damaged = data.draw(mutations(whole, ends))
    path = folder / "damaged.onnx"
    path.write_bytes(damaged.content)
    opened = attempt("exported ONNX file", path, lambda: Recogniser.load(path, threads=1), MEMORY)
    document = attempt("ONNX metadata", path, lambda: read_metadata(path), MEMORY)
    if damaged.content == whole:
        assert opened is not None
        assert document == DOCUMENT
        tally["exported ONNX file", "read right"] += 1
        tally["ONNX metadata", "read right"] += 1
    else:
        assert opened is None
        assert document is None


@hostile
@given(data=st.data())
def test_a_document_is_read_as_it_stands_or_refused(folder, data):
    damaged = data.draw(mutations(TEXT, text=data.draw(st.booleans())))
    path = folder / "redescribed.onnx"
    described(path, (folder / "graph.onnx").read_bytes(), damaged.content)
    opened = attempt("ONNX document", path, lambda: Recogniser.load(path, threads=1), MEMORY)
    network = attempt("ONNX document of a teacher", path, lambda: network_of(path), MEMORY)
    if opened is not None:
        assert opened.engine.metadata == json.loads(damaged.content)
        assert all(-1 <= threshold <= 1 for threshold in opened.thresholds.values())
        assert opened.engine.batch is None or opened.engine.batch > 0
        tally["ONNX document", "read right"] += 1
    if network is not None:
        assert network.carried == json.loads(damaged.content)
        tally["ONNX document of a teacher", "read right"] += 1


def network_of(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = OnnxNetwork(path, threads=1)
    assert network.input.size == SIDE
    assert all(-1 <= threshold <= 1 for threshold in network.thresholds.values())
    return network


def test_a_flipped_bit_is_refused(folder):
    whole = (folder / "student.onnx").read_bytes()
    path = folder / "flipped.onnx"
    for bit in range(0, 8 * len(whole), 41):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(FacedistillError, match=r"flipped\.onnx"):
            Recogniser.load(path, threads=1)
