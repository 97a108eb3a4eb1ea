import json

import pytest

from facedistill.core.errors import FacedistillError
from tests.cli.calling import assert_next, call


def test_export_takes_what_it_is_asked_for_and_inspect_shows_it(story, tmp_path):
    asked = "--input", "float", "--batch", "2", "--normalise", "--opset", "19"
    pairs = "procedural:identities=12,images=4,size=32,first_identity=900,seed=3"
    out = tmp_path / "student.onnx"
    student = story / "student" / "best.safetensors"
    document = json.loads(call("export", student, *asked, "--pairs", pairs, "--json", "--out", out))
    assert (document["input"], document["batch"], document["normalise"]) == ("float", 2, True)
    assert document["agreement"]["min_cosine"] > 1 - 1e-5
    assert abs(document["accuracy"]["difference"]["difference"]) < 0.2
    carried = json.loads(call("inspect", out, "--json"))["metadata"]
    assert carried["input"]["kind"] == "float32_nchw"
    assert carried["training_data"] == "faces: 32 images of 8 identities"


def test_a_runs_folder_stands_for_its_best_weights(story, tmp_path):
    output = call("export", story / "student", "--out", tmp_path / "a.onnx")
    assert "onnx" in output  # The target is told from the suffix.
    assert f"wrote {tmp_path / 'a.onnx'}" in output
    assert_next(output)


def test_a_suffix_that_no_target_has_is_refused(story, tmp_path):
    with pytest.raises(FacedistillError, match=r"a\.txt: an exported file's name ends in .*\.onnx"):
        call("export", story / "student", "--out", tmp_path / "a.txt")
