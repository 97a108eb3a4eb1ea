import json

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from tests.cli.calling import call


def test_verify_takes_what_a_foreign_network_does_not_say(story, tmp_path):
    faces = open_dataset("procedural:identities=2,images=1,size=32")
    images = [tmp_path / f"{index}.png" for index in range(2)]
    for index, path in enumerate(images):
        path.write_bytes(faces.encoded(index))
    command = ("verify", "--model", story / "student.onnx", *images)
    assert "cosine" in call(*command, "--size", "32", "--color", "RGB")
    with pytest.raises(FacedistillError, match="carries its own input specification"):
        call(*command, "--size", "32", "--color", "BGR")


def test_verify_says_the_same_person_of_one_image_twice(story, tmp_path):
    from facedistill.faces.synthetic.procedural_face import procedural_face
    from facedistill.runtime.image_file import encode_png

    path = tmp_path / "a.png"
    path.write_bytes(encode_png(procedural_face(0, 0, 0, size=32)[0]))
    output = call("verify", path, path, "--model", story / "student.onnx", "--threshold", "0.3")
    assert output.startswith("same person: cosine 1.0000")


def test_verify_prints_json_and_takes_a_runs_folder(story, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(open_dataset("procedural:identities=1,images=1,size=32").encoded(0))
    output = call("verify", path, path, "--model", story / "student", "--threshold", "1", "--json")
    verdict = json.loads(output)
    assert verdict["threshold_from"] == "given"
    assert verdict["same"] == (verdict["cosine"] >= 1)
