import copy
import json
import shutil

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.export.file_metadata import exported_metadata
from facedistill.export.target import ExportOptions
from tests.export.small_network import Small, embeddings, faces, least_cosine, small_network

pytest.importorskip("ncnn", reason="needs the extra ncnn")
pytest.importorskip("pnnx", reason="needs the extra ncnn")
from facedistill.export.targets.ncnn import ncnn_file as target

OPTIONS = {
    "uint8": ExportOptions(batch=1),
    "float": ExportOptions(input="float", batch=1, normalise=True),
}
PARTS = ("a.param", "a.bin", "a.param.json")


@pytest.fixture(scope="module")
def network():
    return small_network(steepest=1.5)


@pytest.fixture(scope="module")
def folders(network, tmp_path_factory):
    written = {}
    for kind, options in OPTIONS.items():
        written[kind] = tmp_path_factory.mktemp(kind)
        target.write(copy.deepcopy(network), written[kind] / "a.param", options)
        assert {file.name for file in written[kind].iterdir()} == set(PARTS)
    return written


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("count", [1, 3])
def test_embeddings_are_those_of_torch_for_any_number_of_faces(network, folders, kind, count):
    engine = target.open_engine(folders[kind] / "a.param", threads=1)
    assert engine.batch == 1
    expected, embedding = embeddings(network, faces(count)), engine.embed(faces(count))
    assert embedding.shape == (count, 6)
    assert embedding.dtype == np.float32
    assert least_cosine(expected, embedding) > 1 - 1e-5  # of weights in float16
    if OPTIONS[kind].normalise:
        np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, rtol=1e-4)
    else:
        np.testing.assert_allclose(embedding, expected, atol=0.02)


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_document_lies_beside_with_digests_of_both_files(network, folders, kind):
    document = target.read_metadata(folders[kind] / "a.param")
    assert set(document.pop("digests")) == {".param", ".bin"}
    assert document == exported_metadata(network, OPTIONS[kind], precision="float16")
    names = (folders[kind] / "a.param").read_text().split()
    assert {"image", "embedding"} < set(names)


@pytest.mark.parametrize("batch", [None, 2])
def test_batches_are_refused(network, tmp_path, batch):
    with pytest.raises(FacedistillError, match="one face at a time"):
        target.write(network, tmp_path / "a.param", ExportOptions(batch=batch))


class Erring(Small):
    def forward_head(self, features):
        return super().forward_head(torch.special.erf(features).cumsum(1))


def test_an_operator_that_ncnn_does_not_have_is_named(network, tmp_path):
    erring = copy.deepcopy(network)
    erring.backbone.__class__ = Erring
    with pytest.raises(FacedistillError, match="cannot export small to ncnn: ") as caught:
        target.write(erring, tmp_path / "a.param", ExportOptions(batch=1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("damage", ["absent", "empty", "half", "changed"])
def test_damaged_files_are_refused_before_ncnn_sees_them(folders, tmp_path, part, damage):
    shutil.copytree(folders["uint8"], tmp_path, dirs_exist_ok=True)
    file = tmp_path / part
    whole = file.read_bytes()
    if damage == "absent":
        file.unlink()
    else:
        middle = len(whole) // 2
        changed = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        file.write_bytes({"empty": b"", "half": whole[:middle], "changed": changed}[damage])
    if part.endswith("json") and damage == "changed":
        document = json.loads(whole)
        file.write_text(json.dumps({**document, "digests": "none"}))
    with pytest.raises(FacedistillError) as caught:
        target.open_engine(tmp_path / "a.param")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a") in str(caught.value)
