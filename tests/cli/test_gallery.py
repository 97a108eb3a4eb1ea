import json

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.models.files.decision_thresholds import write_thresholds
from tests.cli.calling import assert_next, call


@pytest.fixture
def working(story, tmp_path, monkeypatch):
    """A student with thresholds, and crops of four identities in folders."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "student.onnx"
    path.write_bytes((story / "student.onnx").read_bytes())
    write_thresholds(path, {"1e-2": 0.3, "1e-3": 0.5})
    dataset = open_dataset("procedural:identities=4,images=2,size=32")
    for index in range(len(dataset)):
        place = tmp_path / "people" / f"person {dataset.labels[index]}" / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(dataset.encoded(index))
    return tmp_path


OF = ("--gallery", "g", "--model", "student.onnx", "--crops")


def test_identities_are_enrolled_identified_listed_and_removed(working):
    said = call("enrol", "people", *OF)
    assert "8 templates of 4 identities" in said
    assert_next(said)
    image = "people/person 2/4.png"
    assert f"{image}: person 2; person 2 1.0" in call("identify", image, *OF)
    (row,) = json.loads(call("identify", image, *OF, "--json").partition("\n")[2])
    assert (row["photo"], row["identity"], row["place"]) == (image, "person 2", None)
    assert row["threshold_from"].startswith("FPIR 0.01 among 8")
    assert_next(call("gallery", "remove", "g", "person 2", "person 3"))
    listed = json.loads(call("gallery", "list", "g", "--json"))
    assert [each["name"] for each in listed["identities"]] == ["person 0", "person 1"]
    assert b"person 2" not in (working / "g").read_bytes()
    assert "identities  2" in call("gallery", "list", "g")


def test_one_identity_is_enrolled_by_name_and_embedded_anew(working):
    call("enrol", "people/person 0", "--name", "Zo\u00eb", *OF, "--keep-crops")
    assert "2 templates are those of" in call("gallery", "reembed", "g", *OF[2:4])
    assert "Zo\u00eb: 2 templates" in call("gallery", "list", "g")


def test_faces_are_sorted_into_folders_that_can_be_enrolled(working):
    said = call("cluster", "people", *OF[2:], "--threshold", "0.999999", "--out", "sorted")
    assert_next(said)
    assert "faces                  8" in said
    assert len(list(working.glob("sorted/*/*.png"))) == 8
    call("enrol", "sorted", *OF)
    with pytest.raises(FacedistillError, match="is there already"):
        call("cluster", "people", *OF[2:], "--out", "sorted")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["enrol", "people/person 0", *OF], "whose photo is it"),
        (["enrol", "nowhere", *OF], "nowhere: no such file"),
        (["enrol", "people", *OF, "--max-yaw", "30"], "--max-yaw is for photos"),
        (["enrol", "people", "--gallery", "g", "--model", "people", "--crops"], "is no exported"),
        (["enrol", "people", *OF, "--name", "a\nb"], "cannot name an identity"),
        (["identify", "people", *OF], "g: no such file"),
        (["gallery", "remove", "student.onnx", "x"], "is no gallery"),
        (["cluster", "people", *OF[2:], "--threshold", "2", "--out", "o"], "not a cosine"),
        (["identify", "people", *OF, "--fpir", "0.1", "--threshold", "0"], "give one"),
        (["cluster", "people", *OF[2:], "--out", "people/o"], "lies in people"),
    ],
)
def test_mistakes_are_one_line(working, words, line):
    with pytest.raises(FacedistillError, match=line):
        call(*words)
    assert not (working / "o").exists()
