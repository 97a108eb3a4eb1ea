"""Landmark networks through the loop: trained, chosen by NME, measured, resumed."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import facedistill
from facedistill.cli.app import app
from facedistill.core.errors import FacedistillError
from facedistill.data.formats.landmark_list import FIVE_NAMES
from facedistill.data.open import open_dataset
from facedistill.engine.loop import Fit
from facedistill.experiments.build.student import create_student
from facedistill.experiments.build.training_data import split_data
from facedistill.experiments.run import run
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_file import save_model
from facedistill.runtime.image_file import encode_png
from facedistill.runtime.input_spec import InputSpec
from tests.engine import standin  # noqa: F401 - registers a tiny network
from tests.evaluation.landmark_evaluation import evaluate_landmarks
from tests.experiments.landmark_recipe import landmark_recipe


def test_two_steps_leave_a_model_with_its_nme(tmp_path):
    test = "procedural:identities=2,images=3,size=16,loose=1,first_identity=50"
    settings = ("training.steps=2", "training.evaluate_steps=1", f"evaluation.test={test}")
    summary = run(landmark_recipe(*settings), tmp_path, say=lambda line: None)
    model = facedistill.load(summary.model)
    assert model.landmark_points == 5
    held_out = split_data(landmark_recipe())[1]
    measured = evaluate_landmarks(model, held_out, resamples=0).nme.value
    assert model.metadata.metrics["validation.nme"] == pytest.approx(measured, rel=1e-5)
    assert summary.validation == pytest.approx(measured, rel=1e-5)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    nmes = [line["validation.nme"] for line in lines if "validation.nme" in line]
    assert len(nmes) == 2
    assert min(nmes) == pytest.approx(summary.validation)
    tested = evaluate_landmarks(model, open_dataset(test), resamples=0).nme.value
    assert summary.evaluation["test"]["nme"]["value"] == pytest.approx(tested, rel=1e-5)
    again = run(landmark_recipe(*settings), tmp_path, say=lambda line: None)
    assert again.validation == summary.validation


def test_the_loss_falls(tmp_path):
    run(landmark_recipe("training.steps=60"), tmp_path, say=lambda line: None)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_faces_without_landmarks_are_refused_at_the_door(tmp_path):
    faces = open_dataset("procedural:identities=2,images=6,size=16")
    (tmp_path / "faces").mkdir()
    for index in range(12):
        (tmp_path / "faces" / f"{index}.png").write_bytes(faces.encoded(index))
    settings = (f"data.train={tmp_path / 'faces'}", "data.validation_identities=0")
    with pytest.raises(
        FacedistillError, match=r"'landmark_regression' needs landmarks and .*faces"
    ):
        run(landmark_recipe(*settings), tmp_path / "run", say=lambda line: None)
    with pytest.raises(FacedistillError, match=r"need student\.landmarks, but standin gives only"):
        run(
            landmark_recipe("student.landmarks=null", "data.validation_identities=0"),
            tmp_path / "other",
        )


def write_photographs(folder, sizes):
    """Photographs of these sizes with a face in each, listed as CelebA lists them."""
    (folder / "img").mkdir()
    rng = np.random.default_rng(2)
    lines = [str(len(sizes)), " ".join(FIVE_NAMES)]
    for index, side in enumerate(sizes):
        image = rng.integers(0, 256, (3 * side, 4 * side, 3), np.uint8)
        (folder / "img" / f"{index}.png").write_bytes(encode_png(image))
        face = side * np.array([[1.5, 1], [2.5, 1], [2, 1.5], [1.6, 2], [2.4, 2]])
        lines.append(f"{index}.png " + " ".join(f"{value:.2f}" for value in face.ravel()))
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    return folder / "list.txt"


@pytest.mark.parametrize("cache", ["ram", "none"])
def test_faces_cut_out_of_photographs_of_all_sizes_are_learned(tmp_path, cache):
    photographs = write_photographs(tmp_path, range(8, 20))
    faces = open_dataset(photographs)
    assert len({faces[index].image.shape for index in range(12)}) > 5
    settings = (f"data.train={photographs}", "data.validation_identities=0", f"data.cache={cache}")
    held_out = ("data.validation_images=3", f"evaluation.test={photographs}", "training.steps=2")
    summary = run(landmark_recipe(*settings, *held_out), tmp_path / "run", say=lambda line: None)
    assert summary.evaluation["test"]["faces"] == 12


def test_what_has_no_landmarks_measures_no_landmark_network(tmp_path, monkeypatch):
    write_photographs(tmp_path, [8] * 9)
    unlabelled = f"data.train={tmp_path / 'img'}"
    following = (
        unlabelled,
        "objectives.landmark_regression=null",
        "objectives.landmark_imitation={}",
    )
    monkeypatch.setattr(Fit, "run", None)  # nothing is trained
    for settings in (
        (*following, "data.validation_identities=0", "data.validation_images=2"),
        (f"evaluation.test={tmp_path / 'img'}",),
    ):
        with pytest.raises(FacedistillError, match="img has no landmarks to measure a landmark"):
            run(landmark_recipe(*settings), tmp_path / "run", say=lambda line: None)


def test_as_many_landmarks_are_learned_as_the_data_has(tmp_path, monkeypatch):
    monkeypatch.setattr(Fit, "run", None)  # nothing is trained
    with pytest.raises(FacedistillError, match=r"5 landmarks a face and student\.landmarks is 6"):
        run(landmark_recipe("student.landmarks=6"), tmp_path, say=lambda line: None)


def test_a_landmark_network_starts_from_a_recogniser_or_another_of_its_kind(tmp_path):
    run(landmark_recipe("training.steps=1"), tmp_path / "first", say=lambda line: None)
    settings = landmark_recipe(f"student.init={tmp_path / 'first'}").student
    first = facedistill.load(tmp_path / "first" / "best.safetensors")
    assert create_student(settings).fingerprint == first.fingerprint

    spec = InputSpec(size=16)
    recogniser = FaceNetwork.create("standin", spec, embedding_size=8)
    save_model(recogniser, tmp_path / "recogniser.safetensors")
    lines = []
    begun = create_student(
        landmark_recipe(f"student.init={tmp_path / 'recogniser.safetensors'}").student, lines.append
    )
    assert "all but landmark_head.weight, landmark_head.bias of" in lines[0]
    for name, weight in recogniser.backbone.state_dict().items():
        assert torch.equal(begun.backbone.state_dict()[name], weight), name


def test_a_run_does_not_go_on_with_points_that_moved(tmp_path):
    photographs = write_photographs(tmp_path, [8] * 9)
    held_out = ("data.validation_identities=0", "data.validation_images=2")
    settings = (f"data.train={photographs}", *held_out, "training.steps=2")
    run(landmark_recipe(*settings), tmp_path / "run", say=lambda line: None)
    (tmp_path / "run" / "summary.json").unlink()
    text = photographs.read_text()
    photographs.write_text(text.replace(" 12.00 ", " 12.50 "))
    with pytest.raises(FacedistillError, match="of a run on other training data"):
        run(landmark_recipe(*settings), tmp_path / "run", say=lambda line: None)
    photographs.write_text(text)
    run(landmark_recipe(*settings), tmp_path / "run", say=lambda line: None)


def test_a_teacher_of_points_must_see_the_image_that_the_student_sees(tmp_path):
    short = "training.steps=2"
    run(landmark_recipe(short), tmp_path / "teacher", say=lambda line: None)
    teacher = f"teacher={{model: {tmp_path / 'teacher'}, view: clean, licence: unknown}}"
    distilling = [short, teacher, "objectives.landmark_imitation={}"]
    with pytest.raises(FacedistillError, match="they lie elsewhere than in the mirrored or moved"):
        run(landmark_recipe(*distilling), tmp_path / "moved", say=lambda line: None)
    still = [f"data.augmentation.{name}=0" for name in ("flip", "shift", "scale", "rotation")]
    run(landmark_recipe(*distilling, *still), tmp_path / "still", say=lambda line: None)
    run(landmark_recipe(*distilling, "teacher.view=same"), tmp_path / "same", say=lambda line: None)


def test_a_network_learns_all_points_of_a_larger_markup(tmp_path):
    rng = np.random.default_rng(0)
    marked = tmp_path / "marked"
    marked.mkdir()
    for index in range(9):
        image = rng.integers(0, 256, (16, 16, 3), np.uint8)
        (marked / f"{index}.png").write_bytes(encode_png(image))
        rows = "\n".join(f"{x:.2f} {y:.2f}" for x, y in rng.uniform(2, 15, (68, 2)))
        (marked / f"{index}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{rows}\n}}\n")
    settings = landmark_recipe(
        f"data.train={marked}", "data.validation_identities=0", "data.validation_images=2",
        "student.landmarks=68", "training.steps=2", f"evaluation.test={marked}",
    )  # fmt: skip
    summary = run(settings, tmp_path / "run", say=lambda line: None)
    assert facedistill.load(summary.model).landmark_points == 68
    assert summary.evaluation["test"]["points"] == 68
    words = ["evaluate", str(summary.model), str(marked), "--json", "--resamples", "0"]
    (report,) = json.loads(CliRunner().invoke(app, words, catch_exceptions=False).stdout)
    assert report["points"] == 68
    assert report["nme"]["value"] == pytest.approx(summary.evaluation["test"]["nme"]["value"])
    assert report["normalised_by"] == "inter-ocular (outer corners)"
