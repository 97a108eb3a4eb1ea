import json

import pytest

from facedistill.export.file_metadata import exported_metadata, read_beside, write_beside
from facedistill.export.target import ExportOptions
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network

SPEC = InputSpec(size=16, color="BGR", mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))


def network(**about):
    return FaceNetwork.create("standin", SPEC, **about)


def test_all_that_a_user_needs_is_in_the_document():
    student = network()
    student.metadata = ModelMetadata(
        thresholds={"1e-3": 0.31},
        teacher="r50",
        teacher_licence="non-commercial",
        training_data="faces (9 of 10)",
        data_licence="MIT",
        recipe_hash="abc",
    )
    document = exported_metadata(student, ExportOptions(batch=4, normalise=True), precision="int8")
    del document["library_version"]
    assert document == {
        "format": 1,
        "input": {
            "kind": "uint8_nhwc_rgb",
            "size": 16,
            "color": "BGR",
            "mean": [1.0, 2.0, 3.0],
            "std": [4.0, 5.0, 6.0],
        },
        "batch": 4,
        "embedding_size": 8,
        "normalised": True,
        "precision": "int8",
        "thresholds": {"1e-3": 0.31},
        "licences": {"teacher": "non-commercial", "data": "MIT"},
        "training_data": "faces (9 of 10)",
        "centred_on": None,
        "name": "standin",
        "architecture": "standin",
        "teacher": "r50",
        "recipe_hash": "abc",
    }


@pytest.mark.parametrize(
    ("kind", "named"), [("uint8", "uint8_nhwc_rgb"), ("float", "float32_nchw")]
)
def test_the_kind_of_input_has_a_name_of_its_own(kind, named):
    document = exported_metadata(network(), ExportOptions(input=kind))
    assert document["input"]["kind"] == named
    assert document["batch"] is None


def test_landmarks_are_counted():
    assert exported_metadata(network(landmarks=5), ExportOptions())["landmarks"] == 5


def test_a_document_beside_a_file_is_json_that_comes_back(tmp_path):
    path = tmp_path / "student.param"
    path.touch()
    assert read_beside(path) is None
    document = exported_metadata(network(), ExportOptions())
    write_beside(path, document)
    assert json.loads((tmp_path / "student.param.json").read_text()) == document
    assert read_beside(path) == document
