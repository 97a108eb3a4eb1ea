import re
import shutil

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.data.formats.landmark_list import FIVE_NAMES, read_landmark_list
from facedistill.data.formats.pts_folder import read_pts_folder
from facedistill.faces.landmarks import to_pixels
from tests.hostile.mutations import IMAGE_MEMORY, attempt, hostile, mutations, tally
from tests.hostile.test_image_list import lines_of

NAMES = ["1.png", "with blank.png", "sub, jr/ü.png", "4.png", "5.png"]
SIDE = 40
rng = np.random.default_rng(11)
POINTS = rng.uniform(8, 32, (len(NAMES), 5, 2)).round(2)
MARKS = rng.uniform(8, 32, (68, 2)).round(3)


def list_of(points):
    rows = "".join(
        f"{name} {' '.join(map(str, each.ravel()))}\n"
        for name, each in zip(NAMES, points, strict=True)
    )
    return f"{len(NAMES)}\n{' '.join(FIVE_NAMES)}\n{rows}".encode()


LISTS = {
    "crops": list_of(POINTS),
    "whole numbers": list_of(POINTS.round().astype(int)),
    "padded": re.sub(rb" (?=\d)", b"    ", list_of(POINTS)).replace(b"\n", b"\r\n"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marked")
    for place, name in enumerate(NAMES):
        (folder / "img" / name).parent.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (SIDE + 8 * (place % 2), SIDE, 3), dtype=np.uint8)
        (folder / "img" / name).write_bytes(cv2.imencode(".png", noise)[1].tobytes())
    return folder


@hostile
@given(data=st.data())
def test_every_line_gives_its_points_or_is_refused(folder, data):
    whole = LISTS[data.draw(st.sampled_from(sorted(LISTS)))]
    damaged = data.draw(mutations(whole, records=lines_of(whole)[2:], text=True))
    path = folder / "list.txt"
    path.write_bytes(damaged.content)
    faces = attempt("landmark list", path, lambda: read_landmark_list(path), IMAGE_MEMORY)
    if faces is None:
        return
    # The last ten words of a line are the points, the text before them names the file.
    text = damaged.content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    first, second, *rows = text.rstrip().split("\n")
    assert int(first) == len(rows) == len(faces)
    assert second.lower().split() == list(FIVE_NAMES)
    end = "read right"
    for index, row in enumerate(rows):
        name, *numbers = row.strip().rsplit(maxsplit=10)
        points = np.array(list(map(float, numbers))).reshape(5, 2)
        file = folder / "img" / name
        sample = attempt("landmark list", file, lambda i=index: faces[i], IMAGE_MEMORY)
        if sample is None:
            tally["landmark list", "refused"] -= 1
            end = "opened, damaged parts refused"
            continue
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR_RGB)
        check_sample(sample, image, points)
    tally["landmark list", end] += 1


@hostile
@given(data=st.data())
def test_every_pts_file_gives_its_points_or_is_refused(folder, data):
    rows = "".join(f"{x} {y}\n" for x, y in MARKS + 1)
    whole = f"version: 1\nn_points:  68\n{{\n{rows}}}\n".encode()
    damaged = data.draw(mutations(whole, [9, 22, 23], lines_of(whole)[3:71], text=True))
    (folder / "img" / "1.pts").write_bytes(damaged.content)
    marked = folder / "img" / "1.pts"
    faces = attempt("pts file", marked, lambda: read_pts_folder(folder / "img"), IMAGE_MEMORY)
    if faces is None:
        return
    inside = damaged.content.decode().partition("{")[2].partition("}")[0].split()
    points = np.array(list(map(float, inside))).reshape(68, 2) - 1
    five = [points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]]
    file = folder / "img" / "1.png"
    sample = attempt("pts file", file, lambda: faces[0], IMAGE_MEMORY)
    if sample is None:
        tally["pts file", "refused"] -= 1
        tally["pts file", "opened, damaged parts refused"] += 1
        return
    image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR_RGB)
    check_sample(sample, image, np.array(five))
    tally["pts file", "read right"] += 1


def check_sample(sample, image, points):
    """The sample is the image, or a square of it, with the points in the same places."""
    found = to_pixels(sample.landmarks, sample.image.shape)
    shift = np.rint(points[0] - found[0]).astype(int)
    np.testing.assert_allclose(found + shift, points, atol=1e-3)
    side = len(sample.image)
    reach = 4 * max(image.shape)
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)))
    left, top = shift + reach
    np.testing.assert_array_equal(sample.image, padded[top : top + side, left : left + side])


def test_an_image_that_is_damaged_is_named(folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "copy")
    (folder / "img" / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "list.txt").write_bytes(LISTS["crops"])
    with pytest.raises(FacedistillError, match=r"4\.png \(.*list\.txt line 6\): "):
        read_landmark_list(folder / "list.txt")[3]
