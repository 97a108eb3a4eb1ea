import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.procedural import ProceduralDataset
from facedistill.data.views.aligned_faces import AlignedFaces
from facedistill.evaluation.protocols.landmark_localisation import report_landmarks
from facedistill.report.figures.landmark_figures import (
    aligned_sheet,
    extreme_faces,
    face_sheet,
    mark,
    plot_cumulative,
    write_landmark_figures,
)


@pytest.fixture(scope="module")
def measured():
    faces = ProceduralDataset(12, 1, size=32, loose=1.0)
    truth = np.stack([faces[i].landmarks for i in range(12)])
    shifts = np.linspace(0.0, 0.11, 12, dtype=np.float32)[:, None, None]
    return report_landmarks("drawn", truth + shifts, truth, resamples=0), faces


def test_a_dot_is_where_the_landmark_is():
    image = np.zeros((30, 30, 3), np.uint8)
    marked = mark(image, np.array([[0.25, 0.7]]), (255, 0, 0), 120)
    ys, xs = np.nonzero(marked[..., 0] > 127)
    assert (xs.mean() + 0.5) / 120 == pytest.approx(0.25, abs=0.004)
    assert (ys.mean() + 0.5) / 120 == pytest.approx(0.7, abs=0.004)
    assert not image.any()


def test_extremes_are_the_faces_of_those_errors():
    errors = np.random.default_rng(0).permutation(20).astype(float)
    chosen = extreme_faces(errors, 4)
    assert errors[chosen["best"]].tolist() == [0, 1, 2, 3]
    assert errors[chosen["median"]].tolist() == [8, 9, 10, 11]
    assert errors[chosen["worst"]].tolist() == [16, 17, 18, 19]
    assert extreme_faces(errors[:2], 4)["median"].tolist() == np.argsort(errors[:2]).tolist()


def test_sheet_marks_what_was_found_and_what_is_true(measured):
    sheet = face_sheet(*measured, each=3)
    for colour in ((46, 200, 67), (235, 64, 52)):
        assert (np.abs(sheet.astype(int) - colour).sum(axis=2) < 12).sum() > 50


def test_figures_are_written_and_numbered(measured, tmp_path):
    report, faces = measured
    one = write_landmark_figures([report], [faces], tmp_path / "one")
    assert [path.name for path in one] == ["cumulative.png", "faces.png"]
    two = write_landmark_figures([report, report], [faces, faces], tmp_path / "two")
    assert [path.name for path in two] == ["cumulative.png", "faces1.png", "faces2.png"]
    for path in (*one, *two):
        assert cv2.imread(str(path)).std() > 10
    with pytest.raises(FacedistillError, match="there are no reports"):
        plot_cumulative([], tmp_path / "none.png")


def test_aligned_sheet_shows_loose_and_aligned_faces(measured):
    faces = measured[1]
    pixels = np.stack([faces.face(i)[1] for i in range(12)])
    sheet = aligned_sheet(AlignedFaces(faces, pixels), count=4)
    assert sheet.std() > 20
