import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.landmark_dataset import (
    LOOSE,
    OFF,
    SCALES,
    Square,
)
from facedistill.data.formats.landmark_list import (
    FIVE_NAMES,
    read_landmark_list,
)
from facedistill.data.labels import Subset
from facedistill.data.sample import content_key
from facedistill.data.views.resized import Resized
from facedistill.runtime.image_file import decode_image
from tests.data.formats.landmark_files import CROP, HEADER, ROW, list_text, write_images


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


def test_a_crop_has_the_key_of_its_file(tmp_path):
    write_images(tmp_path, ["1.png"])
    (tmp_path / "list.txt").write_text(list_text({"1.png": CROP}))
    listed = read_landmark_list(tmp_path / "list.txt")
    assert listed.key(0) == content_key((tmp_path / "1.png").read_bytes())
