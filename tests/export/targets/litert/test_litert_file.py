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
from facedistill.runtime.file_digest import blank_ending, write_digest
from tests.export.small_network import embeddings, faces, least_cosine, small_network

OPTIONS = ExportOptions(batch=2)
LENGTH = b"\x0d\x00\x00\x00"
"""Of `{"format": 1}`, as archives write it: the stored bytes and those they stand for."""
MODEL = b"\x1c\x00\x00\x00TFL3" + bytes(200)


def with_document(text: bytes, name="facedistill.json", compression=zipfile.ZIP_STORED) -> bytes:
    """Return a model with an archive behind it, whose digest is not filled in."""
    file = io.BytesIO(MODEL)
    with zipfile.ZipFile(file, "a", compression) as archive:
        archive.writestr(name, text)
        archive.comment = blank_ending(".tflite")
    return file.getvalue()


def lying(field: bytes, other: bytes) -> bytes:
    """Return a file whose archive's directory has another value than the one written."""
    before, directory, after = with_document(b'{"format": 1}').rpartition(b"PK\x01\x02")
    assert after.count(field) == 1
    return before + directory + after.replace(field, other)


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
    changed = bytearray(whole)
    changed[len(whole) // 2] ^= 1
    model = with_document(document)
    for content in (whole[:100], whole[: len(whole) // 2], whole[:-30], bytes(changed), model):
        damaged.write_bytes(content)
        if content == model:
            write_digest(damaged)
        with pytest.raises(FacedistillError, match=r"a\.tflite") as caught:
            target.open_engine(damaged)
        assert "\n" not in str(caught.value)


def test_a_dynamic_batch_is_refused(network, tmp_path):
    with pytest.raises(FacedistillError, match="fixed number of faces"):
        target.write(network, tmp_path / "a.tflite", ExportOptions())


def test_documents_are_read_without_the_extra(tmp_path):
    file = tmp_path / "a.tflite"
    file.write_bytes(with_document(b'{"format": 1}'))
    write_digest(file)
    assert target.read_metadata(file) == {"format": 1}
    for content in (MODEL, with_document(b"{}", "other.json")):
        file.write_bytes(content)
        write_digest(file)
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
        (with_document(b'{"format": 1}').replace(b'mat": 1}', b'mat": 2}'), "Bad CRC-32"),
        (with_document(b" " * (1 << 21), compression=zipfile.ZIP_DEFLATED), "not stored"),
        (with_document(b"{}", compression=zipfile.ZIP_BZIP2), "not stored"),
        (lying(LENGTH + LENGTH, LENGTH + b"\xff\xff\xff\x7f"), "not stored"),
        (lying(LENGTH + LENGTH, b"\xff\xff\xff\x7f" * 2), "damaged facedistill metadata"),
        (lying(LENGTH + LENGTH, b"\x01\x00\x00\x00" * 2), "damaged facedistill metadata"),
    ],
)
def test_damaged_documents_are_refused(tmp_path, content, message):
    file = tmp_path / "a.tflite"
    file.write_bytes(content)
    write_digest(file)
    with pytest.raises(FacedistillError, match=message):
        target.read_metadata(file)


def test_a_document_without_a_digest_is_refused(tmp_path):
    file = tmp_path / "a.tflite"
    file.write_bytes(with_document(b"{}")[: -len(blank_ending(".tflite"))])
    content = bytearray(file.read_bytes())
    content[-2:] = bytes(2)  # The length of the archive's comment.
    file.write_bytes(content)
    with pytest.raises(FacedistillError, match="has no digest"):
        target.read_metadata(file)
