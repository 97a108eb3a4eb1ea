import copy
import io
import json
import zipfile

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import ExportOptions
from facedistill.export.targets.litert import litert_file as target
from tests.export.small_network import embeddings, faces, least_cosine, small_network

OPTIONS = ExportOptions(batch=2)
MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(200)


def with_document(text: bytes, name="facedistill.json") -> bytes:
    file = io.BytesIO(MODEL)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, text)
    return file.getvalue()


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def path(network, tmp_path_factory):
    pytest.importorskip("litert_torch", reason="needs the extra litert")
    path = tmp_path_factory.mktemp("litert") / "a.tflite"
    target.write(copy.deepcopy(network), path, OPTIONS)
    return path


def test_embeddings_are_those_of_torch_for_any_number_of_faces(path):
    engine = target.open_engine(path, threads=1)
    assert engine.batch == 2
    for count in (1, 2, 5):
        expected, embedding = embeddings(small_network(), faces(count)), engine.embed(faces(count))
        np.testing.assert_allclose(embedding, expected, atol=1e-4)
        assert least_cosine(expected, embedding) > 1 - 1e-6


def test_files_carry_their_document(network, path):
    assert target.read_metadata(path) == exported_metadata(network, OPTIONS)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["facedistill.json"]


def test_damaged_files_are_refused(path, tmp_path):
    whole = path.read_bytes()
    document = json.dumps(target.read_metadata(path)).encode()
    damaged = tmp_path / "a.tflite"
    for content in (whole[:100], whole[: len(whole) // 2], whole[:-30], with_document(document)):
        damaged.write_bytes(content)
        with pytest.raises(FacedistillError, match=r"a\.tflite") as caught:
            target.open_engine(damaged)
        assert "\n" not in str(caught.value)


def test_a_dynamic_batch_is_refused(network, tmp_path):
    with pytest.raises(FacedistillError, match="fixed number of faces"):
        target.write(network, tmp_path / "a.tflite", ExportOptions())


def test_documents_are_read_without_the_extra(tmp_path):
    file = tmp_path / "a.tflite"
    file.write_bytes(with_document(b'{"format": 1}'))
    assert target.read_metadata(file) == {"format": 1}
    for content in (MODEL, with_document(b"{}", "other.json")):
        file.write_bytes(content)
        assert target.read_metadata(file) is None
    with pytest.raises(FacedistillError, match="does not exist"):
        target.read_metadata(tmp_path / "none.tflite")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a usable LiteRT file"),
        (b"PK\x05\x06" + bytes(40), "not a usable LiteRT file"),
        (with_document(b"[1]"), "not a JSON object"),
        (with_document(b"\xff\xfe"), "damaged facedistill metadata"),
        (with_document(b" " * (1 << 20) + b"{}"), "too long"),
        (with_document(b'{"format": 1}').replace(b'mat": 1}', b'mat": 2}'), "damaged"),
    ],
)
def test_damaged_documents_are_refused(tmp_path, content, message):
    file = tmp_path / "a.tflite"
    file.write_bytes(content)
    with pytest.raises(FacedistillError, match=message):
        target.read_metadata(file)
