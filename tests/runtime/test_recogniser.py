import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.runtime.file_digest import write_digest
from facedistill.runtime.recogniser import Recogniser
from tests.runtime.student_input import SIDE, faces

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "cv2", "pydantic", "onnx", "scipy", "rich", "typer"}:
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Refuse())
import json
import numpy as np
from facedistill.runtime import Recogniser, similarity
from facedistill.runtime.alignment import similarity_transform, template

path, images = sys.argv[1:]
student = Recogniser.load(path, threads=1)
embeddings = student.embed(np.load(images))
assert student.same_person(embeddings[0], embeddings[0])
assert similarity(embeddings[0], embeddings[0]) > 0.999
np.testing.assert_allclose(similarity_transform(template(), template()), np.eye(2, 3), atol=1e-9)
# Two rooms can be called as public functions: of them only the packages are imported.
called = {"facedistill.distill", "facedistill.export"}
within = {name for name in sys.modules if name.startswith("facedistill.")} - called
rooms = {name.split(".")[1] for name in within}
assert rooms == {"core", "runtime"}, rooms
print(json.dumps(embeddings.tolist()))
"""


def test_without_torch_it_gives_what_torch_gives(student, tmp_path):
    network, path = student
    np.save(tmp_path / "faces.npy", faces(3))
    source = str(Path(sys.modules["facedistill"].__file__).parents[1])
    given = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, path, tmp_path / "faces.npy"],
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
    )
    assert given.returncode == 0, given.stderr
    wanted = network.embed(faces(3)).numpy()
    np.testing.assert_allclose(json.loads(given.stdout), wanted, atol=1e-5)


@pytest.mark.parametrize("flip", [True, False])
def test_embeddings_are_those_of_the_network(student, flip):
    network, path = student
    embeddings = Recogniser.load(path).embed(faces(5), flip=flip)
    np.testing.assert_allclose(embeddings, network.embed(faces(5), flip).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-6)


def test_no_faces_give_no_embeddings(student):
    assert Recogniser.load(student[1]).embed(faces(0)).shape == (0, 8)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_an_embedding_without_direction_is_refused(student, monkeypatch, value):
    recogniser = Recogniser.load(student[1])
    rows = np.ones((2, 8), np.float32)
    rows[1] = value
    monkeypatch.setattr(recogniser.engine, "embed", lambda images: rows)
    with pytest.raises(FacedistillError, match=r"student\.onnx gives a face an embedding that is"):
        recogniser.embed(faces(2))


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 3, SIDE, SIDE), np.uint8),
        np.zeros((SIDE, SIDE, 3), np.uint8),
        np.zeros((1, SIDE, SIDE, 3), np.float32),
        np.zeros((1, 8, 8, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_what_is_no_batch_of_its_faces_is_refused(student, wrong):
    with pytest.raises(FacedistillError, match=r"give aligned crops, uint8 RGB \(N, 16, 16, 3\)"):
        Recogniser.load(student[1]).embed(wrong)


def test_the_threshold_of_a_false_accept_rate_decides(student):
    recogniser = Recogniser.load(student[1])
    one, near, far = np.eye(8)[0], np.zeros(8), np.zeros(8)
    near[:2] = 0.6, 0.8
    far[:2] = 0.3, np.sqrt(1 - 0.09)
    assert recogniser.same_person(one, near) is True
    assert recogniser.same_person(one, far) is False
    assert recogniser.same_person(one, far, far=0.01) is True
    assert recogniser.same_person(one, np.stack([near, far])).tolist() == [True, False]
    with pytest.raises(FacedistillError, match=r"no threshold for FAR 1e-06; it has 1e-2, 1e-3"):
        recogniser.same_person(one, near, far=1e-6)


def redescribed(student, path, change) -> Path:
    """Write a copy of the file with a changed document."""
    model = onnx.load(student[1])
    document = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps(change(document))
    onnx.save(model, path)
    write_digest(path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {**d, "format": 2}, r"metadata of format 2; this facedistill reads 1"),
        (lambda d: [d], "not a JSON object"),
        (lambda d: {**d, "input": None}, "damaged facedistill metadata"),
        (lambda d: {**d, "input": {**d["input"], "kind": "jpeg"}}, "input 'jpeg'"),
        (lambda d: {**d, "input": {**d["input"], "std": [0, 1, 1]}}, "std must be positive"),
        (lambda d: {**d, "batch": -1}, "batch -1"),
        (lambda d: {**d, "thresholds": {"1e-3": "high"}}, "damaged thresholds"),
        (lambda d: {**d, "thresholds": {"often": 0.1}}, "damaged thresholds"),
    ],
)
def test_damaged_documents_are_refused(student, tmp_path, change, message):
    with pytest.raises(FacedistillError, match=message):
        Recogniser.load(redescribed(student, tmp_path / "a.onnx", change))


def test_what_facedistill_did_not_export_is_refused(student, tmp_path):
    model = onnx.load(student[1])
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(FacedistillError, match="was not exported by facedistill"):
        Recogniser.load(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes(b"no graph")
    with pytest.raises(FacedistillError, match="not a usable ONNX file"):
        Recogniser.load(tmp_path / "b.onnx")
    with pytest.raises(FacedistillError, match="does not exist"):
        Recogniser.load(tmp_path / "c.onnx")
