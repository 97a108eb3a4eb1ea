import dataclasses
from typing import get_args

import cv2
import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.faces.masks.face_mask import render_mask
from facedistill.faces.masks.mask_cloth import Cloth
from facedistill.faces.masks.mask_parameters import MaskParameters, MaskShape, Texture
from facedistill.faces.synthetic.procedural_face import procedural_face
from facedistill.runtime.alignment import ARCFACE_TEMPLATE, template, transform_points

SHAPES, TEXTURES = get_args(MaskShape), get_args(Texture)


def drawn(seed):
    return MaskParameters.draw(np.random.default_rng(seed))


def face(height=112, width=112, seed=0):
    coarse = np.random.default_rng(seed).integers(60, 200, (7, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def mask_opacity(height, width, mask, landmarks=None):
    """How much of each pixel the mask hides, shadow included: 1 under the cloth."""
    cloth = Cloth(height, width, mask, landmarks)
    opacity = np.zeros((height, width), np.float32)
    opacity[cloth.part] = 1 - (1 - cloth.shadow) * (1 - cloth.cover)
    return opacity


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def eye_pixels(height, width, landmarks):
    """Inside the ellipses of the two eyes: half a third and a tenth of their distance."""
    y, x = np.mgrid[:height, :width]
    along = landmarks[1] - landmarks[0]
    distance = np.hypot(*along)
    along = along / distance
    inside = np.zeros((height, width), bool)
    for eye in landmarks[:2]:
        right = (x - eye[0]) * along[0] + (y - eye[1]) * along[1]
        down = (y - eye[1]) * along[0] - (x - eye[0]) * along[1]
        inside |= (right / (0.2 * distance)) ** 2 + (down / (0.1 * distance)) ** 2 <= 1
    return inside


@pytest.mark.parametrize("side", [32, 57, 64, 112, 224])
def test_pixels_outside_the_mask_are_those_of_the_image(side):
    for seed in range(25):
        image, mask = noise(side, seed), drawn(seed)
        masked = render_mask(image, mask)
        opacity = mask_opacity(side, side, mask)
        assert masked.shape == image.shape
        assert masked.dtype == np.uint8
        np.testing.assert_array_equal(masked[opacity == 0], image[opacity == 0])
        assert (masked[opacity > 0.5] != image[opacity > 0.5]).any(axis=1).mean() > 0.9
        # The upper two fifths of the image are far above any mask.
        np.testing.assert_array_equal(opacity[: side * 2 // 5], 0)


@pytest.mark.parametrize("side", [32, 112, 224])
def test_mouth_chin_and_the_tip_of_the_nose_are_covered(side):
    nose, left, right = np.rint(template(side)[2:]).astype(int)
    for seed in range(60):
        opacity = mask_opacity(side, side, drawn(seed))
        for x, y in (left, right, (left + right) // 2):
            assert opacity[y, x] == 1
        assert opacity[nose[1] + side // 32, nose[0]] > 0.9
        assert opacity[side - 1 - side // 32, side // 2] > 0.9


def test_cloth_hides_the_pattern_of_the_face_under_it():
    # The mask may know the light, averaged over an eleventh of the face, and nothing finer.
    light = np.full((112, 112, 3), 130, np.uint8)
    checks = light.copy()
    checks[::2, ::2] += 20
    checks[1::2, 1::2] += 20
    checks[::2, 1::2] -= 20
    checks[1::2, ::2] -= 20
    for seed in range(20):
        mask = drawn(seed)
        hidden = mask_opacity(112, 112, mask) == 1
        apart = render_mask(light, mask).astype(int) - render_mask(checks, mask)
        assert np.abs(apart[hidden]).max() <= 6


@pytest.mark.parametrize("side", [32, 48, 112, 224])
def test_eyes_are_never_covered(side):
    eyes = eye_pixels(side, side, template(side))
    assert eyes.sum() > 4
    for seed in range(150):
        assert not mask_opacity(side, side, drawn(seed))[eyes].any(), seed


def test_eyes_of_given_landmarks_are_never_covered():
    rng = np.random.default_rng(0)
    for seed in range(150):
        angle, scale = rng.uniform(-0.6, 0.6), rng.uniform(0.5, 1.1)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = ARCFACE_TEMPLATE + rng.normal(0, 2.5, (5, 2))
        points[2, 0] += rng.uniform(-8, 8)
        points = transform_points(points - 56, np.hstack([turn, [[64], [64]]]))
        eyes = eye_pixels(128, 128, points)
        highest = dataclasses.replace(drawn(seed), nose=1.0)
        assert not mask_opacity(128, 128, highest, points)[eyes].any(), seed


@pytest.mark.parametrize("shape", SHAPES)
def test_worst_wearing_keeps_the_eyes_free(shape):
    eyes = eye_pixels(112, 112, ARCFACE_TEMPLATE)
    for tilt in (-8.0, 8.0):
        mask = MaskParameters(shape, nose=1.0, width=1.12, tilt=tilt, chin=1.0)
        assert not mask_opacity(112, 112, mask)[eyes].any()


def test_templates_landmarks_are_the_default():
    for side in (64, 112):
        image = face(side, side)
        given = render_mask(image, drawn(3), template(side))
        np.testing.assert_array_equal(render_mask(image, drawn(3)), given)


def test_a_narrow_crop_is_the_middle_of_the_square_one():
    # InsightFace's 96x112 crops are the 112x112 template less 8 pixels on either side.
    for seed in range(10):
        square = mask_opacity(112, 112, drawn(seed))
        narrow = mask_opacity(112, 96, drawn(seed))
        np.testing.assert_allclose(narrow, square[:, 8:104], atol=0.05)


def test_mask_follows_landmarks_that_are_shifted():
    points = ARCFACE_TEMPLATE + np.array([20, 12])
    for seed in range(10):
        there = mask_opacity(140, 150, drawn(seed), points)
        here = mask_opacity(112, 112, drawn(seed))
        np.testing.assert_allclose(there[12:124, 20:132], here, atol=0.05)
        np.testing.assert_array_equal(there[:40], 0)


def test_mask_follows_landmarks_that_are_turned():
    quarter = np.array([[0, -1, 111], [1, 0, 0]])  # clockwise: (x, y) -> (111 - y, x)
    points = transform_points(ARCFACE_TEMPLATE, quarter)
    turned = mask_opacity(112, 112, drawn(5), points)
    np.testing.assert_allclose(turned, np.rot90(mask_opacity(112, 112, drawn(5)), -1), atol=0.01)


def test_ridge_follows_the_nose_of_a_turned_head():
    mask = MaskParameters("kn95", "plain", colour=(200, 200, 200))
    gray = np.full((112, 112, 3), 130, np.uint8)

    def ridge(shift):
        points = ARCFACE_TEMPLATE.copy()
        points[2:, 0] += shift
        row = render_mask(gray, mask, points)[92, :, 1].astype(float)
        seam = cv2.GaussianBlur(row[None], (0, 0), 4)[0] - row
        return 30 + int(np.argmax(seam[30:82]))

    assert ridge(-8) < ridge(0) - 3
    assert ridge(0) == pytest.approx(56, abs=1)
    assert ridge(8) > ridge(0) + 3


def test_same_parameters_and_seed_repeat_themselves():
    image = face()
    before = image.copy()
    image.setflags(write=False)
    assert drawn(11) == drawn(11)
    first = render_mask(image, drawn(11))
    assert first.flags.owndata
    np.testing.assert_array_equal(first, render_mask(image, drawn(11)))
    np.testing.assert_array_equal(image, before)
    assert len({render_mask(image, drawn(seed)).tobytes() for seed in range(40)}) == 40


def test_higher_and_wider_masks_cover_more():
    def area(**wearing):
        return mask_opacity(112, 112, MaskParameters(**wearing)).sum()

    assert area(nose=1.0) > area(nose=0.5) > area(nose=0.0)
    assert area(width=1.1) > area(width=1.0) > area(width=0.9)


def test_tilt_lifts_one_side():
    def top(tilt, x):
        mask = MaskParameters(tilt=tilt)
        return int(np.argmax(mask_opacity(112, 112, mask)[:, x] > 0.5))

    assert top(0.0, 28) == top(0.0, 84)
    assert top(6.0, 84) < top(0.0, 84) < top(-6.0, 84)
    assert top(6.0, 28) > top(0.0, 28) > top(-6.0, 28)


def test_edge_is_antialiased_in_a_narrow_band():
    for shape in SHAPES:
        opacity = mask_opacity(112, 112, MaskParameters(shape))
        # Down the middle: rises from nothing to all within few pixels, never falls again.
        column = opacity[:, 56]
        rise = np.flatnonzero((column > 0) & (column < 1))
        assert 2 <= len(rise) <= 7
        assert (np.diff(column) >= 0).all()


def test_light_from_one_side_lights_that_side_of_the_mask():
    ramp = np.linspace(60, 200, 112)[None, :, None].repeat(112, 0).repeat(3, 2).astype(np.uint8)
    for seed in range(20):
        mask = dataclasses.replace(drawn(seed), texture="plain")
        lit = render_mask(ramp, mask)[88:104].mean(axis=(0, 2))
        assert lit[66:80].mean() > 1.1 * lit[32:46].mean()


def test_a_dark_photograph_has_a_dark_mask():
    white = MaskParameters("kn95", "plain", colour=(240, 240, 240))
    means = [
        render_mask(np.full((112, 112, 3), level, np.uint8), white)[85:105, 40:72].mean()
        for level in (30, 80, 150, 220)
    ]
    assert means == sorted(means)
    assert means[0] < 0.5 * means[-1]


def test_a_gray_photograph_has_a_gray_mask():
    gray = face()[..., :1].repeat(3, axis=2)
    for seed in range(20):
        masked = render_mask(gray, drawn(seed)).astype(int)
        assert np.ptp(masked, axis=2).max() <= 1


def test_stripes_show_both_colours_and_pleats_only_light():
    # With skin in white light the mask keeps its own colours.
    skin = np.broadcast_to(np.array([183, 141, 120], np.uint8), (112, 112, 3)).copy()
    for texture in TEXTURES:
        mask = MaskParameters("cloth", texture, colour=(200, 40, 40), accent=(40, 40, 200))
        patch = render_mask(skin, mask)[80:110, 36:76].astype(float)
        bluer = (patch[..., 2] > patch[..., 0]).mean()
        if texture in ("plain", "pleats"):
            assert bluer == 0
        else:
            assert 0.05 < bluer < 0.95


def test_procedural_landmarks_and_sizes_work():
    for number, side in enumerate((32, 112, 224)):
        image, landmarks = procedural_face(0, number, 0, side)
        masked = render_mask(image, drawn(number), landmarks)
        assert (masked != image).any(axis=2).mean() > 0.15


@pytest.mark.parametrize("side", range(16, 225, 13))
def test_any_size_will_do(side):
    masked = render_mask(face(side, side), drawn(side))
    assert masked.shape == (side, side, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((112, 112), np.uint8), r"uint8 \(112, 112\)"),
        (np.zeros((112, 112, 1), np.uint8), r"\(112, 112, 1\)"),
        (np.zeros((112, 112, 4), np.uint8), r"\(112, 112, 4\)"),
        (np.zeros((112, 112, 3), np.float32), "float32"),
        (np.zeros((2, 112, 112, 3), np.uint8), r"\(2, 112, 112, 3\)"),
        ([[0]], "list"),
        (np.zeros((15, 112, 3), np.uint8), "112 x 15 pixels is too small"),
        (np.zeros((0, 0, 3), np.uint8), "too small"),
    ],
)
def test_other_images_are_refused(image, message):
    with pytest.raises(FacedistillError, match=message):
        render_mask(image, MaskParameters())


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (ARCFACE_TEMPLATE[:4], "shape"),
        (np.full((5, 2), np.nan), "not finite"),
        (np.full((5, 2), 7.0), "one point"),
        (ARCFACE_TEMPLATE + 500, "no face within the 112 x 112 image"),
        (ARCFACE_TEMPLATE - 500, "no face within the 112 x 112 image"),
    ],
)
def test_useless_landmarks_are_refused(landmarks, message):
    with pytest.raises(FacedistillError, match=message):
        render_mask(face(), MaskParameters(), landmarks)
