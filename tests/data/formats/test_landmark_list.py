from pathlib import Path

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.image_file import decode_image
from facedistill.data.formats.landmark_dataset import (
    LOOSE,
    OFF,
    SCALES,
    LandmarkDataset,
    Square,
)
from facedistill.data.formats.landmark_list import (
    FIVE_NAMES,
    is_landmark_list,
    read_landmark_list,
)
from facedistill.data.formats.pts_folder import has_pts_files, read_pts, read_pts_folder
from facedistill.data.labels import Subset
from facedistill.data.open import open_dataset
from facedistill.data.sample import content_key
from facedistill.data.views.resized import Resized
from facedistill.faces.landmarks import reduce_to_five, to_fractions, to_pixels

CROP = np.array([[30.5, 40], [70, 42], [50, 60], [35, 80], [65, 79.25]])


def write_images(folder: Path, names, shape=(112, 112)) -> dict[str, np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    images = {name: rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for name in names}
    for name, image in images.items():
        cv2.imwrite(str(folder / name), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return images


def list_text(rows: dict[str, np.ndarray], header=FIVE_NAMES) -> str:
    lines = [f"{name} {' '.join(map(str, points.ravel()))}" for name, points in rows.items()]
    return "\n".join([str(len(rows)), " ".join(header), *lines]) + "\n"


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


def test_cuts_are_off_as_a_detectors_are_and_the_same_each_time(tmp_path):
    points = np.array([[69, 109], [106, 113], [77, 142], [73, 152], [108, 154]]) * 4
    write_images(tmp_path / "img", ["1.png"], (900, 800))
    rows = {f"./{'./' * i}1.png": points + np.array([i % 20, i // 20]) for i in range(400)}
    (tmp_path / "list.txt").write_text(list_text(rows))
    faces, again = (read_landmark_list(tmp_path / "list.txt") for _ in range(2))
    assert [faces.key(i) for i in range(9)] == [again.key(i) for i in range(9)]
    squares = [faces._square(index, (900, 800)) for index in range(400)]
    sides = np.array([square.side for square in squares])
    corners = np.array([(square.left, square.top) for square in squares])
    middles = faces.pixels.min(axis=1) / 2 + faces.pixels.max(axis=1) / 2
    off = (corners + (sides[:, None] - 1) / 2 - middles) / sides[:, None]
    scale = sides / (LOOSE * 4 * 45)
    assert 0.9 * OFF < np.abs(off).max() <= OFF + 1 / sides.min()
    assert np.abs(off.mean(axis=0)).max() < OFF / 4
    np.testing.assert_allclose([scale.min(), scale.max()], SCALES, rtol=0.02)


def test_a_cut_is_what_it_says_everywhere_and_black_beyond_the_borders():
    rng = np.random.default_rng(3)
    image = rng.integers(1, 256, (9, 13, 3), dtype=np.uint8)
    for _ in range(200):
        left, top = rng.integers(-20, 20, 2).tolist()
        side = int(rng.integers(1, 30))
        crop = Square(left, top, side).cut(image)
        for y in range(side):
            for x in range(side):
                inside = 0 <= top + y < 9 and 0 <= left + x < 13
                expected = image[top + y, left + x] if inside else [0, 0, 0]
                assert crop[y, x].tolist() == list(expected)


def test_faces_of_one_photograph_have_keys_of_their_own(tmp_path):
    write_images(tmp_path, ["a.png"], (300, 500))
    rows = "a.png " + " ".join(map(str, CROP.ravel()))
    other = "a.png " + " ".join(map(str, (CROP + 100).ravel()))
    (tmp_path / "l.txt").write_text(f"2\n{' '.join(FIVE_NAMES)}\n{rows}\n{other}\n")
    faces = read_landmark_list(tmp_path / "l.txt")
    assert faces.key(0) != faces.key(1)
    for index in range(2):
        assert faces[index].key == faces.key(index)
        decoded = decode_image(faces.encoded(index), "x")
        np.testing.assert_array_equal(decoded, faces[index].image)


def test_a_face_is_cut_alike_whatever_of_its_markup_is_kept(tmp_path):
    write_images(tmp_path / "img", ["1.png"], (900, 800))
    marks = np.random.default_rng(0).uniform(300, 400, (68, 2)).round(2)
    header = [f"p{i}_{axis}" for i in range(68) for axis in "xy"]
    (tmp_path / "list.txt").write_text(list_text({"1.png": marks}, header))
    five, all68 = (read_landmark_list(tmp_path / "list.txt", five=each) for each in (True, False))
    assert five.key(0) == all68.key(0)
    np.testing.assert_array_equal(five[0].image, all68[0].image)


def test_points_that_moved_make_another_data_set(tmp_path):
    write_images(tmp_path / "img", ["1.png", "2.png"])
    prints = []
    for shift in (0, 0, 1):
        rows = {"1.png": CROP, "2.png": CROP + shift}
        (tmp_path / "list.txt").write_text(list_text(rows))
        faces = read_landmark_list(tmp_path / "list.txt")
        prints.append((faces.fingerprint, Subset(Resized(faces, 32), [1]).fingerprint))
    assert prints[0] == prints[1]
    assert prints[0][0] != prints[2][0]
    assert prints[0][1] != prints[2][1]


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


def pts_text(points: np.ndarray, said: int | None = None) -> str:
    rows = "\n".join(f"{x} {y}" for x, y in points)
    return f"version: 1\nn_points:  {said or len(points)}\n{{\n{rows}\n}}\n"


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


ROW = "1.png 30 40 70 42 50 60 35 80 65 79"
HEADER = " ".join(FIVE_NAMES)


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


def test_points_far_outside_of_the_image_are_refused(tmp_path):
    write_images(tmp_path / "img", ["1.png"], (40, 40))
    (tmp_path / "list.txt").write_text(f"1\n{HEADER}\n{ROW}\n")
    faces = read_landmark_list(tmp_path / "list.txt")
    for ask in (faces.__getitem__, faces.encoded, faces.key):
        with pytest.raises(FacedistillError, match=r"1\.png \(.*line 3\): landmarks lie outside"):
            ask(0)


def test_a_cut_larger_than_any_image_is_refused(tmp_path):
    write_images(tmp_path / "img", ["1.png"], (3000, 2990))
    (tmp_path / "list.txt").write_text(
        f"1\n{HEADER}\n1.png 0 0 2900 0 1500 1500 0 2900 2900 2900\n"
    )
    with pytest.raises(FacedistillError, match=r"line 3.*make the photograph smaller"):
        read_landmark_list(tmp_path / "list.txt")[0]


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
    (tmp_path / "a.pts").rename(tmp_path / "b.pts")
    (tmp_path / "c.pts").write_text(pts_text(marks[:49]))
    with pytest.raises(FacedistillError, match=r"c\.pts has 49 points, .*b\.pts has 68"):
        read_pts_folder(tmp_path)
    with pytest.raises(FacedistillError, match=r"no \.pts files there"):
        read_pts_folder(tmp_path / "none")


def test_a_crop_has_the_key_of_its_file(tmp_path):
    write_images(tmp_path, ["1.png"])
    (tmp_path / "list.txt").write_text(list_text({"1.png": CROP}))
    listed = read_landmark_list(tmp_path / "list.txt")
    assert listed.key(0) == content_key((tmp_path / "1.png").read_bytes())
