import pytest

from facedistill.core.errors import FacedistillError
from facedistill.core.other_content import check_is_weights
from facedistill.export.target import open_engine, read_metadata
from facedistill.models.files.open_network import open_network
from facedistill.report.documents.inspection import inspect_source
from facedistill.runtime.file_digest import check_digest, write_digest
from facedistill.runtime.recogniser import Recogniser

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
OTHERS = {
    "git-lfs pointer": LFS,
    "web page": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    "a web page": b'<?xml version="1.0"?>\n<!-- x -->\n<!DOCTYPE html><html></html>',
    "server's error message": b'{"error": "not found"}',
    "empty": b"",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "gzip archive": b"\x1f\x8b" + bytes(100),
}
NAMES = ("net.onnx", "net.xml", "net.param", "net.tflite", "net.safetensors", "net.pt")


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("name", NAMES)
def test_what_holds_no_weights_is_called_what_it_is(tmp_path, kind, name):
    (tmp_path / name).write_bytes(OTHERS[kind])
    readers = [inspect_source]
    readers += [open_network] if name.endswith(("onnx", "safetensors", "pt")) else []
    readers += [] if name.endswith(("safetensors", "pt")) else [read_metadata]
    readers += [Recogniser.load, open_engine] if name == "net.onnx" else []
    for read in readers:
        with pytest.raises(FacedistillError, match=rf"{name} holds no weights: it is .*{kind}"):
            read(tmp_path / name)


def test_weights_beside_a_graph_are_looked_at_too(tmp_path):
    (tmp_path / "net.xml").write_text("<net/>")
    (tmp_path / "net.bin").write_bytes(b"weights")
    write_digest(tmp_path / "net.xml", [tmp_path / "net.bin"])
    assert check_digest(tmp_path / "net.xml", [tmp_path / "net.bin"])
    (tmp_path / "net.bin").write_bytes(LFS)
    with pytest.raises(FacedistillError, match=r"net\.bin holds no weights: it is a git-lfs"):
        check_digest(tmp_path / "net.xml", [tmp_path / "net.bin"])


@pytest.mark.parametrize(
    "content",
    [
        b'<?xml version="1.0"?>\n<net name="student" version="11">',
        b'<?xml version="1.0"?><!-- by hand --><net>',
        b"7767517\n",
        b"\x08\x08",
        b"PK\x03\x04",
    ],
)
def test_what_may_be_weights_passes(tmp_path, content):
    (tmp_path / "net").write_bytes(content)
    check_is_weights(tmp_path / "net")


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FacedistillError, match="net does not exist"):
        check_is_weights(tmp_path / "net")
