import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.faces.landmarks import (
    _EYES,
    MARKUPS,
    eye_distance,
    mirror,
    reduce_to_five,
    to_fractions,
    to_pixels,
)
from facedistill.runtime.alignment import template

# Where the points of the 68-point markup lie on a symmetric face, x from the middle: written down
# from its published figure, independently of the tables under test.
JAW = [(-8, 0), (-7.8, 2), (-7.4, 4), (-7, 6), (-6, 8), (-5, 9.5), (-3.5, 11), (-2, 12), (0, 12.5)]
BROW = [(-6.5, -2), (-5.5, -3), (-4, -3.3), (-2.5, -3), (-1.2, -2.5)]
NOSE = [(0, -1), (0, 0.5), (0, 2), (0, 3.5)]
NOSTRIL = [(-1.5, 4.5), (-0.7, 4.8), (0, 5), (0.7, 4.8), (1.5, 4.5)]
EYE = [(-5, 0), (-4.2, -0.6), (-3, -0.6), (-2, 0), (-3, 0.5), (-4.2, 0.5)]
LIPS_ABOVE = [(-3, 8), (-2, 7.3), (-0.8, 7), (0, 7.2), (0.8, 7), (2, 7.3), (3, 8)]
LIPS_BELOW = [(2, 9), (1, 9.4), (0, 9.5), (-1, 9.4), (-2, 9)]
INNER = [(-2.6, 8), (-1, 7.8), (0, 7.9), (1, 7.8), (2.6, 8), (1, 8.4), (0, 8.5), (-1, 8.4)]


def other_side(points):
    return [(-x, y) for x, y in points]


def symmetric_68():
    right_eye = [other_side(EYE)[i] for i in (3, 2, 1, 0, 5, 4)]
    points = [
        *JAW, *other_side(JAW[:-1])[::-1], *BROW, *other_side(BROW)[::-1], *NOSE, *NOSTRIL,
        *EYE, *right_eye, *LIPS_ABOVE, *LIPS_BELOW, *INNER,
    ]  # fmt: skip
    return np.array(points) / 30 + 0.5


def symmetric(points):
    if points == 5:
        return np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    whole = symmetric_68()
    return whole if points == 68 else np.delete(whole, [*range(17), 60, 64], axis=0)


@pytest.mark.parametrize("points", [5, 49, 68])
def test_a_symmetric_face_is_its_own_mirror_image(points):
    face = symmetric(points)
    assert face.shape == (points, 2)
    np.testing.assert_allclose(mirror(face), face, atol=1e-12)


def test_the_98_points_are_exchanged_as_wflw_numbers_them():
    # Pairs of mirror images in the published figure of WFLW: jaw, brows, nose, eyes, mouth, pupils.
    pairs = [
        *((i, 32 - i) for i in range(16)),
        (33, 46), (34, 45), (35, 44), (36, 43), (37, 42), (38, 50), (39, 49), (40, 48), (41, 47),
        (55, 59), (56, 58),
        (60, 72), (61, 71), (62, 70), (63, 69), (64, 68), (65, 75), (66, 74), (67, 73),
        (76, 82), (77, 81), (78, 80), (83, 87), (84, 86), (88, 92), (89, 91), (93, 95),
        (96, 97),
    ]  # fmt: skip
    order = list(range(98))
    for left, right in pairs:
        order[left], order[right] = right, left
    found = mirror(np.stack([np.arange(98), np.zeros(98)], axis=1))[:, 0]
    assert (1 - found).astype(int).tolist() == order


@pytest.mark.parametrize("points", MARKUPS)
def test_mirroring_twice_changes_nothing_and_goes_with_reduction(points):
    face = np.random.default_rng(points).random((3, points, 2))
    np.testing.assert_allclose(mirror(mirror(face)), face)
    np.testing.assert_allclose(reduce_to_five(mirror(face)), mirror(reduce_to_five(face)))
    middle = {5: 1, 49: 9, 68: 10, 98: 10}[points]
    order = mirror(np.stack([np.arange(points), np.zeros(points)], axis=1))
    assert int(((1 - order[:, 0]) == np.arange(points)).sum()) == middle


@pytest.mark.parametrize("points", [49, 68])
def test_five_of_many_are_eyes_nose_and_mouth_corners(points):
    expected = (
        np.array([(-3.5667, -1 / 30), (3.5667, -1 / 30), (0, 3.5), (-3, 8), (3, 8)]) / 30 + 0.5
    )
    np.testing.assert_allclose(reduce_to_five(symmetric(points)), expected, atol=1e-4)


@pytest.mark.parametrize("points", MARKUPS)
def test_eyes_are_each_others_mirror_image_and_about_the_inner_ones(points):
    face = np.random.default_rng(points).uniform(size=(4, points, 2))
    np.testing.assert_allclose(eye_distance(mirror(face)), eye_distance(face))
    (left, right) = _EYES[points]
    order = mirror(np.stack([np.arange(points), np.zeros(points)], axis=1))[:, 0]
    assert (1 - order[[left, right]]).tolist() == [right, left]
    expected = [np.hypot(*(each[left] - each[right])) for each in face]
    np.testing.assert_allclose(eye_distance(face), expected)


def test_unknown_markups_are_refused():
    for change in (mirror, reduce_to_five, eye_distance):
        with pytest.raises(FacedistillError, match="what 29 landmarks stand for is not known"):
            change(np.zeros((29, 2)))


def test_fractions_stay_when_an_image_is_scaled():
    image = np.zeros((40, 60, 3), np.uint8)
    image[20:24, 33:37] = 255  # centred on pixel (34.5, 21.5)
    point = to_fractions(np.array([[34.5, 21.5]]), image.shape)
    for width, height in ((60, 40), (90, 60), (240, 160)):
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)[..., 0]
        ys, xs = np.indices(scaled.shape)
        weight = scaled / scaled.sum()
        centre = [(xs * weight).sum(), (ys * weight).sum()]
        np.testing.assert_allclose(to_pixels(point, scaled.shape)[0], centre, atol=0.01)


def test_pixels_to_fractions_and_back():
    there = to_fractions(template(), (112, 112, 3))
    assert there.dtype == np.float32
    np.testing.assert_allclose(to_pixels(there, (112, 112, 3)), template(), atol=1e-5)
    np.testing.assert_allclose(to_fractions(np.array([[-0.5, 3.5]]), (4, 8)), [[0, 1]])
