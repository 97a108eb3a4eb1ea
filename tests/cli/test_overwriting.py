"""What is there is written over only where that is asked for."""

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from tests.cli.calling import FACES, LOOSE, call, settings

PAIRS = "procedural:identities=12,images=4,size=32,first_identity=900"
FINDER = ("--model", "FINDER/finder.onnx")

COMMANDS = {
    "sheet": (("inspect", FACES, "--sheet", "OUT.png"), "OUT.png"),
    "aligned sheet": (
        ("prepare", LOOSE, "--align", *FINDER, "--out", "OUT", "--sheet", "OUT.png"),
        "OUT.png",
    ),
    "report": (
        ("evaluate", "STORY/student.onnx", PAIRS, "--resamples", "0", "--report", "OUT"),
        "OUT/report.md",
    ),
    "figures": (
        ("evaluate", *FINDER[1:], LOOSE, "--resamples", "0", "--figures", "OUT"),
        "OUT/faces.png",
    ),
    "export": (("export", "STORY/student", "--out", "OUT.onnx"), "OUT.onnx"),
    "records": (("prepare", FACES, "--pack", "--out", "OUT"), "OUT/train.rec"),
    "crops": (("prepare", LOOSE, "--align", *FINDER, "--out", "OUT"), "OUT/ann.jpg"),
}
"""By name: a command, and a file that it would write."""


@pytest.fixture
def filled(story, finder, tmp_path):
    """Fill in where things are."""
    places = {"STORY": story, "FINDER": finder, "OUT": tmp_path / "out"}

    def fill(word):
        for name, path in places.items():
            word = word.replace(name, str(path))
        return word

    return fill


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_is_there_stays(filled, tmp_path, name):
    words, written = COMMANDS[name]
    path = tmp_path / filled(written)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(FacedistillError, match="--overwrite"):
        call(*map(filled, words))
    assert path.read_text() == "mine"
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]


@pytest.mark.parametrize("name", ["sheet", "report", "figures"])
def test_it_goes_where_that_is_asked_for(filled, tmp_path, name):
    words, written = COMMANDS[name]
    path = tmp_path / filled(written)
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    call(*map(filled, words), "--overwrite")
    assert path.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (("compare", "arcface", *settings(f"data.train={FACES}")), "comparison.csv"),
        (("demo", "--quick"), "table.md"),
        (("train", "arcface", *settings(f"data.train={FACES}")), "best.safetensors"),
        (("embed", "--teacher", "STORY/student.onnx", "--data", FACES), "bank.json"),
    ],
    ids=["compare", "demo", "train", "embed"],
)
def test_commands_that_go_on_do_so_in_folders_of_their_own(filled, tmp_path, words, written):
    (tmp_path / written).write_text("mine")
    with pytest.raises(FacedistillError, match=r"another --out$"):
        call(*map(filled, words), "--out", tmp_path)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {written: "mine"}


@pytest.mark.parametrize(
    "words",
    [
        ("prepare", "OUT", "--pack", "--out", "OUT/packed"),
        ("prepare", "OUT", "--pack", "--overwrite", "--out", "OUT"),
        ("prepare", "OUT/ann", "--pack", "--overwrite", "--out", "OUT"),
        ("prepare", "OUT", "--align", *FINDER, "--out", "OUT/crops"),
        ("prepare", "OUT", "--align", *FINDER, "--out", "x", "--sheet", "OUT/sheet.png"),
        ("inspect", "OUT", "--sheet", "OUT/ann/sheet.png"),
        ("embed", "--teacher", "STORY/student.onnx", "--data", "OUT", "--out", "OUT/bank"),
        ("train", "arcface", *settings("data.train=OUT"), "--out", "OUT/run"),
        ("compare", "arcface", *settings("data.train=OUT"), "--out", "OUT/runs"),
        ("export", "STORY/student", "--data", "OUT", "--out", "OUT/student.onnx"),
        ("evaluate", "STORY/student.onnx", "OUT", "--report", "OUT/report"),
        ("evaluate", *FINDER[1:], "OUT", "--figures", "OUT/figures"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_nothing_is_written_among_what_is_read(filled, tmp_path, words):
    image = tmp_path / "out" / "ann" / "1.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(open_dataset(FACES).encoded(0))
    with pytest.raises(FacedistillError, match=r"read.*(--out|--sheet|--report|--figures)"):
        call(*map(filled, words))
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [image]
