import json

import pytest

from facedistill.core.errors import FacedistillError
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.runtime.input_spec import InputSpec
from tests.cli.calling import FACES, call

TESTS = f"{FACES},first_identity=12"


def test_a_model_is_centred_and_measured(tmp_path):
    model, out = tmp_path / "student.safetensors", tmp_path / "centred.safetensors"
    save_model(FaceNetwork.create("standin", InputSpec(size=32), embedding_size=16).eval(), model)
    said = call("centre", model, FACES, "--out", out, "--workers", "1")
    assert f"next: facedistill evaluate {out} PAIRS.bin --save-thresholds" in said
    with pytest.raises(FacedistillError, match="is there already"):
        call("centre", model, FACES, "--out", out)
    command = ("--resamples", "0", "--far", "0.1", "--json")
    (file,) = json.loads(call("evaluate", out, TESTS, *command))
    report = ("--report", tmp_path / "report")
    printed = call("evaluate", model, TESTS, "--centre", FACES, *command, *report)
    (beside,) = json.loads(printed[: printed.rindex("]") + 1])
    assert beside["centred"]["auc"] == pytest.approx(file["auc"], abs=1e-6)
    assert ", centred on procedural" in (tmp_path / "report" / "report.md").read_text()
    with pytest.raises(FacedistillError, match=r"not for .*: --centre"):
        call("evaluate", model, TESTS, "--distractors", FACES, "--centre", FACES)
