import copy
import shutil

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import ExportOptions
from facedistill.runtime.file_digest import write_digest
from tests.export.small_network import embeddings, faces, least_cosine, small_network

pytest.importorskip("openvino", reason="needs the extra openvino")
from facedistill.export.targets.openvino import openvino_file as target

OPTIONS = {
    "uint8": ExportOptions(),
    "float": ExportOptions(input="float", batch=2, normalise=True),
}


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("openvino")
    for kind, options in OPTIONS.items():
        target.write(copy.deepcopy(network), folder / f"{kind}.xml", options)
    assert {file.suffix for file in folder.iterdir()} == {".xml", ".bin"}
    return folder


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_embeddings_are_those_of_torch_for_any_number_of_faces(network, files, kind, count):
    engine = target.open_engine(files / f"{kind}.xml", threads=1)
    assert engine.batch == OPTIONS[kind].batch
    expected, embedding = embeddings(network, faces(count)), engine.embed(faces(count))
    assert embedding.shape == (count, 6)
    assert embedding.dtype == np.float32
    assert least_cosine(expected, embedding) > 1 - 1e-5  # of weights in float16
    if OPTIONS[kind].normalise:
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-5)
    else:
        np.testing.assert_allclose(embedding, expected, atol=0.02)


@pytest.mark.parametrize("kind", OPTIONS)
def test_files_carry_their_document_and_no_path(network, files, kind):
    path = files / f"{kind}.xml"
    assert target.read_metadata(path) == exported_metadata(network, OPTIONS[kind])
    assert "/tmp" not in path.read_text()
    assert str(files) not in path.read_text()


def test_faces_of_another_size_are_refused(files):
    engine = target.open_engine(files / "uint8.xml")
    with pytest.raises(FacedistillError, match="aligned crops"):
        engine.embed(np.zeros((1, 8, 8, 3), np.uint8))


def test_files_of_other_programs_are_recognised(tmp_path):
    other = tmp_path / "other.xml"
    other.write_text('<net name="other"><layers/></net>')
    assert target.read_metadata(other) is None
    with pytest.raises(FacedistillError, match="not exported by facedistill"):
        target.open_engine(other)
    with pytest.raises(FacedistillError, match="does not exist"):
        target.open_engine(tmp_path / "none.xml")


def test_damaged_files_are_refused_in_one_line(files, tmp_path):
    path, weights = tmp_path / "a.xml", tmp_path / "a.bin"
    whole, whole_weights = ((files / f"uint8.{s}").read_bytes() for s in ("xml", "bin"))
    path.write_bytes(whole)
    with pytest.raises(FacedistillError, match=r"a\.bin.*does not exist"):
        target.open_engine(path)
    for graph, numbers in (
        (whole[: len(whole) // 2], whole_weights),
        (b"", whole_weights),
        (b"\xff" * 64, whole_weights),
        (whole, whole_weights[: len(whole_weights) // 2]),
        (whole, b""),
        (whole.replace(b'type="Convolution"', b'type="Nothing"'), whole_weights),
    ):
        path.write_bytes(graph)
        weights.write_bytes(numbers)
        with pytest.raises(FacedistillError, match=r"is (damaged|not a usable|empty)"):
            target.open_engine(path)
        write_digest(path, [weights])
        with pytest.raises(
            FacedistillError, match=r"is not a usable OpenVINO file|holds no weights"
        ) as caught:
            target.open_engine(path)
        assert "\n" not in str(caught.value)
        assert not str(caught.value).endswith(": ")


def test_a_flipped_bit_of_either_file_is_refused(files, tmp_path):
    for name in ("a.xml", "a.bin"):
        for suffix in (".xml", ".bin"):
            shutil.copy(files / f"uint8{suffix}", tmp_path / f"a{suffix}")
        content = bytearray((tmp_path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FacedistillError, match=r"a\.xml or .*a\.bin is damaged"):
            target.read_metadata(tmp_path / "a.xml")


def test_a_document_without_a_digest_is_refused(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text('<net><rt_info><facedistill value="{}"/></rt_info></net>')
    with pytest.raises(FacedistillError, match="has no digest"):
        target.read_metadata(path)


def test_entities_do_not_grow(tmp_path):
    grown = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x" * 100}">' for i in range(12))
    bomb = tmp_path / "bomb.xml"
    bomb.write_text(f"<!DOCTYPE net [{grown}]><net>&e11;</net>")
    with pytest.raises(FacedistillError, match="not a usable OpenVINO file"):
        target.read_metadata(bomb)
