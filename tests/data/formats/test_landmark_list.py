import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.landmark_dataset import (
    LOOSE,
    OFF,
    SCALES,
    LandmarkDataset,
)
from facedistill.data.formats.landmark_list import (
    is_landmark_list,
    read_landmark_list,
)
from facedistill.data.open import open_dataset
from facedistill.faces.landmarks import reduce_to_five, to_fractions, to_pixels
from facedistill.runtime.image_file import decode_image
from tests.data.formats.landmark_files import CROP, HEADER, ROW, list_text, write_images


def test_celeba_style_list(tmp_path):
    images = write_images(tmp_path / "img", ["1.png", "with blank.png"])
    (tmp_path / "list.txt").write_text(list_text({"1.png": CROP, "with blank.png": CROP + 3}))
    assert is_landmark_list(tmp_path / "list.txt")
    faces = open_dataset(tmp_path / "list.txt")
    assert type(faces) is LandmarkDataset
    assert faces.labels.tolist() == [-1, -1]
    sample = faces[1]
    np.testing.assert_array_equal(sample.image, images["with blank.png"])
    assert sample.landmarks.dtype == np.float32
    np.testing.assert_allclose(to_pixels(sample.landmarks, (112, 112)), CROP + 3, atol=1e-4)
    assert sample.key == faces.key(1)
    np.testing.assert_array_equal(decode_image(faces.encoded(1), "x"), sample.image)
    assert "list.txt line 4" in faces.where(1)


def test_official_celeba_layout_and_its_photographs_are_cut_to_squares(tmp_path):
    images = write_images(tmp_path / "Img" / "img_align_celeba", ["000001.png"], (218, 178))
    write_images(tmp_path / "Img" / "img_celeba", ["000001.png"], (50, 50))
    points = np.array([[69, 109], [106, 113], [77, 142], [73, 152], [108, 154]])
    (tmp_path / "Anno").mkdir()
    path = tmp_path / "Anno" / "list_landmarks_align_celeba.txt"
    path.write_text(list_text({"000001.png": points}))
    sample = open_dataset(path)[0]
    side = len(sample.image)
    assert SCALES[0] * LOOSE * 45 - 1 < side < SCALES[1] * LOOSE * 45 + 1
    assert sample.image.shape == (side, side, 3)
    marks = to_pixels(sample.landmarks, sample.image.shape)
    middle = (marks.min(axis=0) + marks.max(axis=0)) / 2
    np.testing.assert_allclose(middle, (side - 1) / 2, atol=OFF * side + 0.51)
    for mark, point in zip(np.rint(marks).astype(int), points, strict=True):
        pixel = images["000001.png"][point[1], point[0]]
        np.testing.assert_array_equal(sample.image[mark[1], mark[0]], pixel)


@pytest.mark.parametrize("points", [49, 68, 98])
def test_longer_markups_are_reduced_to_five_or_kept(tmp_path, points):
    write_images(tmp_path / "img", ["1.png"])
    marks = np.random.default_rng(points).uniform(20, 90, (points, 2)).round(2)
    header = [f"p{i}_{axis}" for i in range(points) for axis in "xy"]
    (tmp_path / "list.txt").write_text(list_text({"1.png": marks}, header))
    assert is_landmark_list(tmp_path / "list.txt")
    for five, expected in ((True, reduce_to_five(marks)), (False, marks)):
        sample = read_landmark_list(tmp_path / "list.txt", five=five)[0]
        np.testing.assert_array_equal(sample.landmarks, to_fractions(expected, (112, 112)))


@pytest.mark.parametrize("more", ["", "10 12 90 95 0 0 1 0 0 0 "])
def test_lists_of_wflw(tmp_path, more):
    images = write_images(tmp_path / "WFLW_images" / "3--Riot", ["a b.png", "c.png"])
    marks = np.random.default_rng(1).uniform(20, 90, (2, 98, 2)).round(4)
    folder = tmp_path / "WFLW_annotations" / "list_98pt_test"
    folder.mkdir(parents=True)
    names = ["3--Riot/c.png", "3--Riot/a b.png"]
    rows = [
        f"{' '.join(map(str, points.ravel()))} {more}{name}\n"
        for points, name in zip(marks, names, strict=True)
    ]
    (folder / "list.txt").write_text("".join(rows))
    assert is_landmark_list(folder / "list.txt")
    faces = open_dataset(folder / "list.txt", five=False)
    np.testing.assert_array_equal(faces[1].image, images["a b.png"])
    np.testing.assert_array_equal(faces[1].landmarks, to_fractions(marks[1], (112, 112)))
    assert open_dataset(folder / "list.txt")[1].landmarks.shape == (5, 2)
    assert "list.txt line 2" in faces.where(1)
    cut = rows[0] + rows[1].replace(" ", " x", 1)
    (folder / "list.txt").write_text(cut)
    with pytest.raises(FacedistillError, match=r"line 2: .* is not (196|206) numbers and an image"):
        open_dataset(folder / "list.txt")
    (folder / "list.txt").write_text(rows[0].replace("c.png", "d.png"))
    with pytest.raises(FacedistillError, match=r"line 1: no image 3--Riot/d\.png in "):
        open_dataset(folder / "list.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 2: the points' names"),
        (f"2\n{HEADER}\n{ROW}\n", "line 1: '2' is not the number of images, and 1 lines"),
        (f"1\n{HEADER}\n{ROW}\n{ROW}\n", "line 1: '1' is not the number"),
        (f"-1\n{HEADER}\n{ROW}\n", "line 1: '-1'"),
        (f"1\x1d\n{HEADER}\n{ROW}\n", "line 1: .* is not the number of images"),
        (f"0\n{HEADER}\n", "names no images"),
        (f"1\n{HEADER.replace('left', 'x').replace('right', 'left')}\n{ROW}\n", "line 2"),
        (f"1\n{ROW}\n", "line 2"),
        (f"1\n{HEADER}\n{ROW} 7\n", "line 3: .* is not an image's name and 10 numbers"),
        (f"1\n{HEADER}\n{ROW[:-3]}\n", "line 3"),
        (f"2\n{HEADER}\n{ROW}\n\n{ROW}\n", "line 1"),
        (f"3\n{HEADER}\n{ROW}\n\n{ROW}\n", "line 4: ''"),
        (f"1\n{HEADER}\n{ROW.replace('70', 'nan')}\n", "line 3"),
        (f"1\n{HEADER}\n{ROW.replace('70', '1e9')}\n", "line 3"),
        (f"1\n{HEADER}\n{ROW.replace('70', '7_0')}\n", "line 3"),
        (f"1\n{HEADER}\n{ROW}\u0660\n", "line 3"),
        (f"1\n{HEADER}\n1.png 5 5 5 5 5 5 5 5 5 5\n", "line 3: the landmarks, or the two eyes"),
        (f"1\n{HEADER}\n1.png 5 5 5 5 50 60 35 80 65 79\n", "line 3: the landmarks, or the two"),
        (f"1\n{HEADER}\n{ROW.replace('1.png', '2.png')}\n", "line 3: no image 2.png in "),
        (f"2\n{HEADER}\n{ROW}\n{ROW.replace('1.png', '2.png')}\n", "line 4: no such file"),
    ],
)
def test_wrong_lists_are_named(tmp_path, text, message):
    write_images(tmp_path / "img", ["1.png"])
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(FacedistillError, match=rf"list\.txt:? .*{message}|list.txt: .*{message}"):
        read_landmark_list(tmp_path / "list.txt")
