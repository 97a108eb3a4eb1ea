"""The public functions, as a user calls them, on tiny networks and built-in faces."""

import inspect
import subprocess
import sys

import numpy as np
import pytest
import torch

import facedistill
from facedistill.core.errors import FacedistillError
from facedistill.evaluation.options import EvaluationOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.models.onnx_network import OnnxNetwork
from facedistill.recipe.loading import load_recipe
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network

FEW = EvaluationOptions(resamples=20)
FACES = "procedural:identities=6,images=4,size=32"
TINY = [
    f"data.train={FACES}", "data.validation_identities=0", "data.workers=0",
    "student.network=standin", "student.arguments={}", "student.embedding_size=16",
    "student.input.size=32", "training.steps=2", "training.batch_size=8",
]  # fmt: skip


@pytest.fixture
def network():
    return FaceNetwork.create("standin", InputSpec(size=32), embedding_size=16)


def test_the_whole_job(network, tmp_path):
    save_model(network, tmp_path / "teacher.safetensors")
    bank = facedistill.embed(tmp_path / "teacher.safetensors", FACES, tmp_path / "bank")
    assert len(bank) == 24

    lines = []
    run, settings = tmp_path / "run", [*TINY, f"teacher.bank={tmp_path / 'bank'}"]
    summary = facedistill.distill("fcd", run, settings, say=lines.append)
    assert summary.steps == 2
    assert lines
    recipe = load_recipe("fcd", settings)
    assert facedistill.distill(recipe, run).steps == 2

    student = facedistill.load(run)
    embeddings = student.embed(np.zeros((2, 32, 32, 3), np.uint8))
    assert embeddings.shape == (2, 16)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    found = facedistill.evaluate(run, FACES, FEW)
    assert found.line() == facedistill.evaluate(student, FACES, FEW).line()

    report = facedistill.export(run, tmp_path / "student.onnx", data=FACES)
    assert report.parity
    assert isinstance(facedistill.load(tmp_path / "student.onnx"), OnnxNetwork)
    with pytest.raises(FacedistillError, match="exported already"):
        facedistill.export(tmp_path / "student.onnx", tmp_path / "again.onnx")


def test_settings_are_those_of_a_file(tmp_path):
    recipe = load_recipe("arcface", TINY)
    with pytest.raises(FacedistillError, match="give its name or path"):
        facedistill.distill(recipe, tmp_path, ["seed=1"])


def test_landmarks_are_evaluated_too():
    network = FaceNetwork.create("standin", InputSpec(size=32), landmarks=5)
    found = facedistill.evaluate(network, f"{FACES},loose=1", EvaluationOptions(resamples=0))
    assert "NME" in found.line()


def test_importing_the_package_imports_no_torch():
    code = "import facedistill, sys; print('torch' in sys.modules, facedistill.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", facedistill.__version__]


@pytest.mark.parametrize("order", ["import facedistill.export.target", "import facedistill"])
def test_a_room_and_the_function_of_its_name_live_together(order):
    code = f"""{order}
import facedistill
from facedistill.export.target import TARGETS
assert facedistill.export.target.TARGETS is TARGETS
assert callable(facedistill.export)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["load", "embed", "evaluate"])
def test_public_functions_are_documented_and_typed(name):
    function = getattr(facedistill, name)
    assert all(part in function.__doc__ for part in ("Args:", "Returns:", "Raises:"))
    assert inspect.signature(function).return_annotation is not inspect.Signature.empty


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        facedistill.distil  # noqa: B018
