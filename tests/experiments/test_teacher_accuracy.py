import numpy as np
import pytest

from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.writing import import_bank
from facedistill.experiments.teacher_accuracy import measure_teacher
from facedistill.report.documents.inspection import inspect_source
from tests.distill.conftest import DIMENSION, Faces, info_of


def bank_of(faces, folder, signal):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(faces.labels.max() + 1, DIMENSION))
    embeddings = signal * centres[faces.labels] + rng.normal(size=(len(faces), DIMENSION))
    info = info_of(faces, views=("plain",))
    return import_bank(embeddings.astype(np.float32), faces, folder, info=info)


def test_the_accuracy_is_kept_in_the_bank(tmp_path):
    faces = Faces(range(120), labels=np.repeat(np.arange(30), 4))
    strong = measure_teacher(bank_of(faces, tmp_path / "strong", 9.0), faces)
    weak = measure_teacher(bank_of(faces, tmp_path / "weak", 0.0), faces)
    assert strong.pairs == weak.pairs == 360  # all mated pairs, and as many of strangers
    assert strong.estimate.value > 0.97
    assert weak.estimate.interval.low < 0.6
    assert Bank(tmp_path / "strong").info.accuracy == strong
    shown = inspect_source(tmp_path / "strong")["teacher_accuracy"]
    assert shown.startswith(f"{100 * strong.estimate.value:.2f} % (")
    assert shown.endswith("on 360 pairs drawn of the labels")


def test_the_rows_stay_those_of_the_same_bank(tmp_path):
    faces = Faces(range(120), labels=np.repeat(np.arange(30), 4))
    bank = bank_of(faces, tmp_path / "b", 3.0)
    before = bank.info.mark
    measure_teacher(bank, faces)
    np.testing.assert_array_equal(Bank(tmp_path / "b").info.mark, before)
    Bank(tmp_path / "b").verify()


@pytest.mark.parametrize("labels", [np.full(60, -1), np.arange(60), np.zeros(60, np.int64)])
def test_labels_that_give_no_pairs_give_no_accuracy(tmp_path, labels):
    faces = Faces(range(60), labels=labels)
    values = np.random.default_rng(0).normal(size=(60, DIMENSION)).astype(np.float32)
    bank = import_bank(values, faces, tmp_path / "b", info=info_of(faces, views=("plain",)))
    assert measure_teacher(bank, faces) is None
    assert Bank(tmp_path / "b").info.accuracy is None
