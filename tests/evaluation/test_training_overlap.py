import numpy as np
import pytest

from facedistill.data.formats.procedural import parse_procedural
from facedistill.data.labels import Subset
from facedistill.evaluation.evaluate import evaluate
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol
from facedistill.evaluation.training_overlap import mark_training_set, training_overlap
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.runtime.input_spec import InputSpec
from tests.data.images_in_memory import images_in_memory
from tests.engine import standin  # noqa: F401 - registers a tiny network

FACES = parse_procedural("procedural:identities=8,images=3,size=16")
STRANGERS = parse_procedural("procedural:identities=8,images=3,size=16,first_identity=8")


def network(*sets):
    made = FaceNetwork.create("standin", InputSpec(size=16))
    marks = tuple(mark_training_set(faces, f"set {place}") for place, faces in enumerate(sets))
    made.metadata = ModelMetadata(name="student", trained_on=marks)
    return made.eval()


def test_figures_of_training_faces_are_warned_of_from_a_file(tmp_path):
    save_model(network(Subset(FACES, range(12))), tmp_path / "student.safetensors")
    student = load_model(tmp_path / "student.safetensors")
    options = EvaluationOptions(resamples=0, workers=0)
    with pytest.warns(UserWarning, match="figures of TRAINING faces: about 12 of the 24 images"):
        found = evaluate(student, AllPairsProtocol(FACES), options)
    assert "TRAINING faces" in found.line()
    assert found.to_dict()["training_overlap"]["images"] == 12


def test_figures_of_strangers_are_not(recwarn):
    evaluate(network(FACES), AllPairsProtocol(STRANGERS), EvaluationOptions(resamples=0, workers=0))
    assert not [each for each in recwarn if "TRAINING" in str(each.message)]


def test_a_part_of_a_large_training_set_is_known_by_its_share():
    large = images_in_memory(1000)
    part = Subset(large, np.arange(200, 500))
    overlap = training_overlap(network(large), [part])
    assert (overlap.tested, overlap.training_set) == (300, "set 0")
    assert overlap.images == pytest.approx(300, abs=10)
    assert training_overlap(network(STRANGERS, large), [part]).training_set == "set 1"
    assert training_overlap(network(STRANGERS), [part]) is None
    assert training_overlap(network(), [part]) is None
    assert training_overlap(lambda images: None, [part]) is None
