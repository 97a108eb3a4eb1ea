import json

import pytest

from facedistill.distill.bank.bank import Bank
from facedistill.experiments import trial as trial_module
from facedistill.models.files.model_file import load_model
from tests.experiments.tiny_comparison import compare

pytestmark = pytest.mark.usefixtures("few_resamples")


def test_an_unexpected_error_is_kept_with_its_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_module, "run", lambda *arguments: 1 // 0)
    (plain,) = compare(tmp_path, "rows: {plain: arcface}")
    assert plain.errors[0].startswith("ZeroDivisionError: ")
    noted = json.loads((tmp_path / "out" / "runs" / "plain" / "seed-0" / "error.json").read_text())
    assert "Traceback" in noted["traceback"]


def test_what_broke_after_measuring_is_tried_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(trial_module, "write_run_card", lambda *arguments: 1 // 0)
        (plain,) = compare(tmp_path, "rows: {plain: arcface}")
    assert plain.errors
    (plain,) = compare(tmp_path, "rows: {plain: arcface}")
    assert not plain.errors
    assert plain.figures


def test_a_teachers_bank_is_made_once_and_finished_if_it_was_not(tmp_path, monkeypatch):
    text = """
rows:
  distilled: {recipe: fcd, seeds: [0, 1], settings: [objectives.margin_softmax=null,
           "teacher.bank=${teacher}/bank"]}
  teacher: {recipe: arcface, bank: true, tokens: true, if_needed: true}
"""
    distilled, _ = compare(tmp_path, text)
    assert not distilled.errors
    folder = tmp_path / "out" / "runs" / "teacher" / "seed-0"
    bank = Bank(folder / "bank")
    assert len(bank) == 32
    assert bank.info.views == ("plain", "flipped")
    assert bank.info.pixels.output == "feature_map"
    assert bank.info.teacher == load_model(folder / "best.safetensors").fingerprint
    assert "runs/teacher/seed-0/bank" in distilled.recipe

    next((folder / "bank").glob("rows-*.npy")).unlink()
    ran = []
    run = trial_module.run
    monkeypatch.setattr(trial_module, "run", lambda r, f, say: ran.append(f) or run(r, f, say))
    compare(tmp_path, text)
    assert ran == [folder]
    assert len(Bank(folder / "bank")) == 32


def test_a_row_whose_bank_was_not_made_names_the_row_that_makes_it(tmp_path, monkeypatch):
    text = """
rows:
  student: {recipe: fcd, settings: [objectives.margin_softmax=null, "teacher.bank=${teacher}/bank"]}
  teacher: {recipe: arcface, bank: true}
"""
    with monkeypatch.context() as patched:
        patched.setattr(trial_module, "embed_teacher", lambda *arguments, **options: 1 // 0)
        student, teacher = compare(tmp_path, text)
    assert "ZeroDivisionError" in teacher.errors[0]
    assert "seed-0, which has no result" in student.errors[0]
    student, teacher = compare(tmp_path, text)
    assert not student.errors
    assert not teacher.errors
