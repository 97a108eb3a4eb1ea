"""Options that all commands have that take a network."""

import json

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from tests.cli.calling import call
from tests.models.onnx.graphs import linear

FACES = "procedural:identities=10,images=3,size=16"
INPUT = ("--color", "RGB", "--mean", "0", "--std", "255")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A graph of two outputs that nothing tells apart, and two crops."""
    folder = tmp_path_factory.mktemp("outputs")
    linear(folder / "two.onnx", {"one": 64, "two": 64})
    faces = open_dataset(FACES)
    for index in range(2):
        (folder / f"{index}.png").write_bytes(faces.encoded(index))
    return folder


def commands(folder, out):
    path = folder / "two.onnx"
    crops = (folder / "0.png", folder / "1.png")
    return {
        "evaluate": ("evaluate", path, FACES, *INPUT, "--resamples", "0"),
        "embed": ("embed", "--teacher", path, "--data", FACES, *INPUT, "--out", out),
        "verify": ("verify", "--model", path, *crops, *INPUT, "--threshold", "0"),
        "inspect": ("inspect", path),
        "bench": ("bench", path, "--threads", "1", "--batch", "1", "--calls", "1"),
    }


@pytest.mark.filterwarnings("ignore:.*does not say what it is fed")
@pytest.mark.parametrize("command", ["evaluate", "embed", "verify", "inspect", "bench"])
def test_an_output_is_named_where_nothing_tells_it(folder, tmp_path, command):
    words = commands(folder, tmp_path / "bank")[command]
    with pytest.raises(FacedistillError, match="name one with --output"):
        call(*words)
    with pytest.raises(FacedistillError, match="no output 'three'; it has one, two"):
        call(*words, "--output", "three")
    if command != "bench":  # It would start processes.
        assert call(*words, "--output", "two")


def test_both_networks_of_a_comparison_have_their_own(folder, tmp_path):
    words = commands(folder, tmp_path)["evaluate"]
    both = ("--against", folder / "two.onnx", "--output", "two", "--against-output")
    same = call(*words, *both, "two", "--json")
    other = call(*words, *both, "one", "--json")
    assert json.loads(same) != json.loads(other)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "a.npy", FACES, "--output", "one"), "--output names an output of a network"),
        (("evaluate", "two.onnx", FACES, "--against-output", "one"), "--against-output names"),
        (("inspect", FACES, "--output", "one"), "no ONNX file: leave out --output"),
        (("verify", "0.png", "1.png", "--model", "a.pt", "--output", "one"), "no output 'one'"),
        (("bench", "a.safetensors", "--output", "one"), "a.safetensors: no such file"),
    ],
)
def test_what_has_no_outputs_to_choose_from_is_refused(folder, monkeypatch, words, message):
    monkeypatch.chdir(folder)
    (folder / "a.pt").touch()
    with pytest.raises(FacedistillError, match=message):
        call(*words)


@pytest.mark.parametrize("option", [("--std", "128"), ("--color", "BGR")])
def test_one_option_of_the_input_changes_that_alone(folder, tmp_path, option):
    linear(tmp_path / "net.onnx", {"out": 64})
    with pytest.warns(UserWarning, match="does not say what it is fed"):
        output = call("verify", "--model", tmp_path / "net.onnx", "--threshold", "0", *option,
                    folder / "0.png", folder / "1.png")  # fmt: skip
    assert "cosine" in output
