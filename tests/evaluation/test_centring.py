import json
import struct

import numpy as np
import pytest
import torch

from facedistill.core.errors import FacedistillError
from facedistill.data.open import open_dataset
from facedistill.distill.bank.making import embed_teacher
from facedistill.distill.teachers.prompted import PromptedNetwork
from facedistill.evaluation.centring import find_centre, write_centred
from facedistill.evaluation.evaluate import evaluate, open_protocol
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.stored_embeddings import StoredEmbeddings
from facedistill.export.export import export_network
from facedistill.export.target import ExportOptions, read_metadata
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import load_model, save_model
from facedistill.models.files.model_metadata import ModelMetadata
from facedistill.models.files.open_network import open_network
from facedistill.runtime.input_spec import InputSpec
from facedistill.runtime.recogniser import Recogniser
from tests.engine import standin  # noqa: F401 - registers a tiny network

FACES = open_dataset("procedural:identities=6,images=3,size=16")
TESTS = "procedural:identities=6,images=3,size=16,first_identity=6"
OPTIONS = EvaluationOptions(resamples=0, workers=0, fars=(0.1,))


@pytest.fixture
def student():
    torch.manual_seed(3)
    made = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=8).eval()
    made.metadata = ModelMetadata(thresholds={"1e-2": 0.9}, metrics={"validation.accuracy": 0.7})
    return made


def embedded(network, faces=FACES):
    """Embeddings of both views, float64."""
    images = np.stack([faces[index].image for index in range(len(faces))])
    with torch.no_grad():
        both = [network(torch.from_numpy(each.copy())) for each in (images, images[:, :, ::-1])]
    return [each.embedding.double().numpy() for each in both]


def units(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_faces_a_bank_and_stored_embeddings_give_the_mean(student, tmp_path):
    plain, flipped = embedded(student)
    mean = units(np.concatenate([plain, flipped])).mean(axis=0)
    found = find_centre(FACES, student, workers=1)
    np.testing.assert_allclose(found.mean.numpy(), mean, atol=1e-6)
    assert (found.images, found.length) == (18, pytest.approx(np.linalg.norm(mean), abs=1e-5))
    embed_teacher(student, FACES, tmp_path / "bank")
    np.testing.assert_allclose(find_centre(tmp_path / "bank", student).mean, mean, atol=1e-3)
    np.save(tmp_path / "rows.npy", plain.astype(np.float32))
    of_rows = find_centre(tmp_path / "rows.npy", student).mean
    np.testing.assert_allclose(of_rows, units(plain).mean(axis=0), atol=1e-6)


def test_what_is_of_another_network_is_refused(student, tmp_path):
    np.save(tmp_path / "wide.npy", np.ones((3, 9), np.float32))
    with pytest.raises(FacedistillError, match="9 dimensions, standin of 8"):
        find_centre(tmp_path / "wide.npy", student)
    embed_teacher(student, FACES, tmp_path / "bank")
    other = FaceNetwork.create("standin", InputSpec(size=16), embedding_size=8).eval()
    with pytest.raises(FacedistillError, match="bank"):
        find_centre(tmp_path / "bank", other)
    stored = StoredEmbeddings("rows", np.ones((3, 8), np.float32))
    with pytest.raises(FacedistillError, match=r"centred by a \.npy"):
        find_centre(FACES, stored)


def test_a_file_gives_centred_embeddings_and_forgets_what_it_measured(student, tmp_path):
    out = tmp_path / "centred.safetensors"
    plain = embedded(student)
    mean = write_centred(student, FACES, out, workers=1).mean.double().numpy()
    read = load_model(out)
    for view, before in zip(embedded(read), plain, strict=True):
        lengths = np.linalg.norm(before, axis=1, keepdims=True)
        np.testing.assert_allclose(view, before - lengths * mean, atol=1e-5)
    assert read.metadata.thresholds == read.metadata.metrics == {}
    assert read.metadata.centred_on.endswith("(18 images)")
    with pytest.raises(FacedistillError, match="is there already"):
        write_centred(student, FACES, out)
    with pytest.raises(FacedistillError, match="has centred embeddings already, on procedural"):
        write_centred(read, FACES, tmp_path / "again.safetensors")
    marked = FaceNetwork.create("standin", InputSpec(size=16), landmarks=5).eval()
    with pytest.raises(FacedistillError, match="finds landmarks: only embeddings"):
        write_centred(marked, FACES, tmp_path / "marked.safetensors")
    teacher = FaceNetwork.create("swin_nano", InputSpec(size=32)).eval()
    teacher.centre = torch.zeros(teacher.embedding_size)
    with pytest.raises(FacedistillError, match="of a mean that prompts would change"):
        PromptedNetwork(teacher)


def test_a_damaged_mark_of_centring_is_named(student, tmp_path):
    path = tmp_path / "a.safetensors"
    write_centred(student, FACES, path, workers=1)
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + size])
    entry = header["__metadata__"]["facedistill"]
    header["__metadata__"]["facedistill"] = entry.replace('"centred": true', '"centred": 7')
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    with pytest.raises(FacedistillError, match="damaged"):
        load_model(path)


@pytest.mark.parametrize("all_pairs", [False, True])
def test_an_evaluation_has_the_centred_figures_beside_the_others(student, tmp_path, all_pairs):
    protocol = open_protocol(TESTS, all_pairs=all_pairs)
    plain = evaluate(student, protocol, OPTIONS)
    both = evaluate(student, protocol, OPTIONS, centre=find_centre(FACES, student, workers=1))
    assert both.report.to_dict() == plain.report.to_dict()
    write_centred(student, FACES, tmp_path / "centred.safetensors", workers=1)
    file = evaluate(load_model(tmp_path / "centred.safetensors"), protocol, OPTIONS)
    centred = both.centred.evaluation
    assert centred.report.figures == pytest.approx(file.report.figures, abs=1e-6)
    assert centred.report.health.mean_length < plain.report.health.mean_length
    assert (centred.difference is None) == all_pairs
    assert "centred on procedural" in both.line()
    assert both.to_dict()["centred"]["images"] == 18


def test_stored_embeddings_are_centred_too(student, tmp_path):
    tests = open_dataset(TESTS)
    np.save(tmp_path / "faces.npy", np.concatenate(embedded(student)).astype(np.float32))
    plain, flipped = (each.astype(np.float32) for each in embedded(student, tests))
    stored = StoredEmbeddings("rows", plain, flipped)
    centre = find_centre(tmp_path / "faces.npy", stored)
    found = evaluate(stored, AllPairsProtocol(tests), OPTIONS, centre=centre)
    network = evaluate(
        student, AllPairsProtocol(tests), OPTIONS, centre=find_centre(FACES, student, workers=1)
    )
    expected = network.centred.evaluation.report.figures
    assert found.centred.evaluation.report.figures == pytest.approx(expected, abs=1e-5)


def test_a_centre_found_on_the_tested_faces_is_warned_of(student):
    centre = find_centre(FACES, student, workers=1)
    with pytest.warns(UserWarning, match="18 of the images are among those of procedural"):
        evaluate(student, AllPairsProtocol(FACES), OPTIONS, centre=centre)
    landmarks = open_protocol("procedural:identities=2,images=2,size=32,loose=1")
    with pytest.raises(FacedistillError, match=r"not for .*--centre"):
        evaluate(student, landmarks, OPTIONS, centre=centre)


@pytest.mark.parametrize("normalise", [False, True])
def test_an_exported_file_ends_with_the_subtraction(student, tmp_path, normalise):
    write_centred(student, FACES, tmp_path / "centred.safetensors", workers=1)
    network = load_model(tmp_path / "centred.safetensors")
    options = ExportOptions(normalise=normalise)
    path = tmp_path / "student.onnx"
    report = export_network(network, path, options=options)
    assert report.parity.min_cosine > 1 - 1e-6
    assert read_metadata(path)["centred_on"] == network.metadata.centred_on
    with pytest.raises(FacedistillError, match="has centred embeddings already"):
        find_centre(FACES, open_network(path))
    image = FACES[0].image
    if not normalise:
        on_device = Recogniser.load(path).embed(image[None])
        np.testing.assert_allclose(on_device, network.embed(image[None]).numpy(), atol=1e-5)


def test_the_uncentred_network_says_so_in_its_export(student, tmp_path):
    save_model(student, tmp_path / "a.safetensors")
    export_network(load_model(tmp_path / "a.safetensors"), tmp_path / "a.onnx")
    assert read_metadata(tmp_path / "a.onnx")["centred_on"] is None
    assert isinstance(open_protocol(TESTS), PairProtocol)
