import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.pts_folder import has_pts_files, read_pts, read_pts_folder
from facedistill.data.open import open_dataset
from facedistill.faces.landmarks import reduce_to_five, to_pixels
from tests.data.formats.landmark_files import write_images


def pts_text(points: np.ndarray, stated: int | None = None) -> str:
    rows = "\n".join(f"{x} {y}" for x, y in points)
    return f"version: 1\nn_points:  {stated or len(points)}\n{{\n{rows}\n}}\n"


def test_pts_files_count_pixels_from_one(tmp_path):
    (tmp_path / "afw").mkdir()
    image = write_images(tmp_path / "afw", ["a.png", "unmarked.png"])["a.png"]
    marks = np.random.default_rng(1).uniform(20, 90, (68, 2)).round(3)
    (tmp_path / "afw" / "a.pts").write_text(pts_text(marks + 1))
    np.testing.assert_allclose(read_pts(tmp_path / "afw" / "a.pts"), marks)
    for folder in (tmp_path, tmp_path / "afw"):
        assert has_pts_files(folder)
        faces = open_dataset(folder)
        assert len(faces) == 1
        np.testing.assert_array_equal(faces[0].image, image)
        found = to_pixels(faces[0].landmarks, image.shape)
        np.testing.assert_allclose(found, reduce_to_five(marks), atol=1e-4)
    assert open_dataset(tmp_path, five=False)[0].landmarks.shape == (68, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.pts: no .pts file"),
        (pts_text(np.ones((68, 2)), 67), r"a\.pts: n_points is 67 and there are 68"),
        (pts_text(np.ones((29, 2))), "n_points is 29"),
        (pts_text(np.ones((68, 2))), "the landmarks, or the two eyes, fall together"),
        (pts_text(np.full((68, 2), np.nan)), "no .pts file"),
        (pts_text(np.ones((68, 3)).tolist()[:0] or np.ones((67, 2)), 9999), "n_points is 9999"),
        (pts_text(np.ones((68, 2))).replace("1.0 1.0", "1.0", 1), "point 1 is '1.0', not x y"),
        (pts_text(np.ones((68, 2))).replace("1.0", "1..0", 1), "point 1 is '1..0 1.0'"),
        ("ü", "byte 0 is no ASCII"),
        (" " * 70_000, "no .pts file"),
    ],
)
def test_wrong_pts_files_are_named(tmp_path, text, message):
    write_images(tmp_path, ["a.png"])
    (tmp_path / "a.pts").write_text(text)
    with pytest.raises(FacedistillError, match=message):
        open_dataset(tmp_path)


def test_marks_without_an_image_and_mixed_markups_are_refused(tmp_path):
    write_images(tmp_path, ["b.png", "c.png"])
    marks = np.random.default_rng(1).uniform(20, 90, (68, 2))
    (tmp_path / "a.pts").write_text(pts_text(marks))
    with pytest.raises(FacedistillError, match=r"a\.pts: no image a \(\.jpg"):
        read_pts_folder(tmp_path)
    with (
        pytest.warns(UserWarning, match=r"left out: 1 landmark files"),
        pytest.raises(FacedistillError, match=r"no \.pts file there can be used"),
    ):
        read_pts_folder(tmp_path, skip=True)
    (tmp_path / "a.pts").rename(tmp_path / "b.pts")
    (tmp_path / "c.pts").write_text(pts_text(marks[:49]))
    with pytest.raises(FacedistillError, match=r"c\.pts has 49 points, .*b\.pts has 68"):
        read_pts_folder(tmp_path)
    with pytest.raises(FacedistillError, match=r"no \.pts files there"):
        read_pts_folder(tmp_path / "none")
