import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.export.file_metadata import read_beside, write_beside
from facedistill.export.target import TARGETS, Runtime, Target
from facedistill.models.registry import create_backbone
from facedistill.report.documents.inspection import inspect_source

RUNTIME = Runtime("Fake", "fake_runtime", "fake-runtime")


@pytest.fixture
def student(monkeypatch, tmp_path):
    """A file of a target whose document lies beside it."""
    monkeypatch.setitem(sys.modules, "fake_target", SimpleNamespace(read_metadata=read_beside))
    target = Target("fake", "Fake", "fake_target", ".fake", RUNTIME, companions=(".bin",))
    monkeypatch.setitem(TARGETS._entries, "fake", target)
    (tmp_path / "student.fake").write_bytes(bytes(5))
    (tmp_path / "student.bin").write_bytes(bytes(7))
    return tmp_path / "student.fake"


def test_an_exported_file_is_described_by_its_document(student):
    write_beside(student, {"format": 1, "training_data": "faces"})
    assert inspect_source(str(student)) == {
        "name": "student",
        "kind": "Fake network",
        "bytes": 12,
        "metadata": {"format": 1, "training_data": "faces"},
    }


@pytest.mark.parametrize(
    "name", ["student.fake", "net.onnx", "net.pt", "net.safetensors", "pairs.bin", "bank", "lfw"]
)
@pytest.mark.parametrize(("option", "given"), [("skip", True), ("root", Path("faces"))])
def test_options_of_data_sets_are_refused_for_what_is_none(student, tmp_path, name, option, given):
    for folder, file in (("bank", "bank.json"), ("lfw", "pairs.txt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).touch()
    with pytest.raises(
        FacedistillError, match=f"--{option} is of a data set, which .*{name} is not"
    ):
        inspect_source(str(tmp_path / name), **{option: given})


def test_files_without_or_with_a_damaged_document_are_refused(student, tmp_path):
    with pytest.raises(FacedistillError, match=r"student\.fake was not exported by facedistill"):
        inspect_source(str(student))
    (tmp_path / "student.fake.json").write_text("[")
    with pytest.raises(FacedistillError, match=r"student\.fake\.json: damaged"):
        inspect_source(str(student))
    with pytest.raises(FacedistillError, match=r"b\.fake does not exist"):
        inspect_source(str(tmp_path / "b.fake"))


def test_an_exported_file_has_no_sheet(student, tmp_path):
    with pytest.raises(FacedistillError, match="is an exported network: it has no faces"):
        inspect_source(str(student), sheet=tmp_path / "sheet.png")


def test_a_checkpoint_is_described_without_what_it_is_fed(tmp_path):
    weights = create_backbone("resnet50", width_divisor=8, embedding_size=12).state_dict()
    torch.save(weights, tmp_path / "resnet.pth")
    description = inspect_source(str(tmp_path / "resnet.pth"))
    assert description["architecture"] == "resnet50"
    assert description["embedding_size"] == 12
    assert "must be stated" in description["input"]
    assert "fingerprint" not in description
