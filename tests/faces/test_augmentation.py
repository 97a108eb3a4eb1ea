from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.faces.augmentation import Augmenter, sample_rng
from facedistill.faces.landmarks import mirror, to_fractions, to_pixels
from facedistill.faces.masks.face_mask import MIN_SIDE
from facedistill.recipe.augmentation_options import Augmentation
from facedistill.runtime.alignment import template

EVERYTHING = Augmentation(
    flip=0.5,
    mask=0.5,
    affine=0.7,
    shift=0.1,
    scale=0.2,
    rotation=20,
    occlusion=0.5,
    brightness=0.3,
    contrast=0.3,
    grayscale=0.3,
    blur=0.5,
    downscale=0.5,
    jpeg=0.5,
)


def face(height=48, width=40, seed=0):
    coarse = np.random.default_rng(seed).integers(40, 200, (6, 5, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def only(**fields):
    return Augmentation(flip=0.0, **fields)


def runs(augmentation, image, count=60):
    return [Augmenter(augmentation)(image, sample_rng(7, 0, index))[0] for index in range(count)]


def sharpness(image):
    return cv2.Laplacian(image, cv2.CV_64F).var()


def test_flip_is_the_exact_mirror_and_says_so():
    image = face()
    for index in range(50):
        augmented, flipped = Augmenter(Augmentation())(image, sample_rng(0, 0, index))
        np.testing.assert_array_equal(augmented, image[:, ::-1] if flipped else image)
        assert augmented.flags.c_contiguous


def test_flips_come_at_their_probability():
    image = np.zeros((2, 2, 3), np.uint8)
    count = 4000
    for probability in (0.0, 0.2, 0.5, 1.0):
        augmentation = Augmentation(flip=probability)
        flips = sum(Augmenter(augmentation)(image, sample_rng(1, 2, i))[1] for i in range(count))
        # Five standard deviations of a binomial.
        assert (
            abs(flips - count * probability) <= 5 * (count * probability * (1 - probability)) ** 0.5
        )


def test_flip_does_not_depend_on_what_else_is_on():
    image = face()
    for index in range(40):
        alone = Augmenter(Augmentation())(image, sample_rng(3, 1, index))[1]
        assert Augmenter(EVERYTHING)(image, sample_rng(3, 1, index))[1] == alone


def test_switching_an_operation_on_leaves_the_others_draws():
    image = face()
    for index in range(20):
        turned = Augmenter(only(rotation=30))(image, sample_rng(0, 0, index))[0]
        gray = Augmenter(only(rotation=30, grayscale=1.0))(image, sample_rng(0, 0, index))[0]
        expected = cv2.cvtColor(turned, cv2.COLOR_RGB2GRAY)
        np.testing.assert_array_equal(gray, np.dstack([expected] * 3))


def test_repeats_itself_and_differs_between_samples_epochs_and_seeds():
    image = face()

    def once(*address):
        return Augmenter(EVERYTHING)(image, sample_rng(*address))[0].tobytes()

    assert once(5, 3, 17) == once(5, 3, 17)
    addresses = [(5, 3, 17), (5, 3, 18), (5, 4, 17), (6, 3, 17), (2**63, 0, 2**40)]
    assert len({once(*address) for address in addresses}) == len(addresses)


@pytest.mark.parametrize("shape", [(48, 40), (1, 1), (3, 50), (112, 112)])
def test_shape_kind_and_input_are_kept(shape):
    image = face(*shape)
    image.setflags(write=False)
    before = image.copy()
    augmentation = EVERYTHING if min(shape) >= MIN_SIDE else replace(EVERYTHING, mask=0.0)
    for index in range(30):
        augmented, _ = Augmenter(augmentation)(image, sample_rng(0, 0, index))
        assert augmented.shape == image.shape
        assert augmented.dtype == np.uint8
        assert augmented.flags.c_contiguous
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("augmentation", [Augmentation.none(), only(affine=0.0, rotation=90)])
def test_nothing_switched_on_changes_nothing(augmentation):
    image = face()
    for augmented in runs(augmentation, image, 20):
        np.testing.assert_array_equal(augmented, image)


def test_shift_moves_by_no_more_than_its_fraction_in_both_directions():
    image = np.zeros((60, 80, 3), np.uint8)
    image[25:35, 35:45] = 255
    centres = []
    for moved in runs(only(shift=0.1), image):
        rows, columns = np.nonzero(moved[..., 0] > 127)
        centres.append((columns.mean() - 39.5, rows.mean() - 29.5))
    x, y = np.array(centres).T
    assert -8.6 <= x.min() < -3
    assert 3 < x.max() <= 8.6
    assert -6.6 <= y.min() < -2
    assert 2 < y.max() <= 6.6


def test_scale_changes_the_area_within_its_range():
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 40:60] = 255
    factors = [(m[..., 0] > 127).sum() ** 0.5 / 20 for m in runs(only(scale=0.3), image)]
    assert 0.68 < min(factors) < 0.9
    assert 1.1 < max(factors) < 1.32


def test_rotation_stays_within_its_angle():
    image = np.zeros((101, 101, 3), np.uint8)
    image[48:53, 70:95] = 255
    angles = []
    for turned in runs(only(rotation=25), image):
        rows, columns = np.nonzero(turned[..., 0] > 127)
        angles.append(np.degrees(np.arctan2(rows.mean() - 50, columns.mean() - 50)))
    assert -25.5 < min(angles) < -8
    assert 8 < max(angles) < 25.5


def test_warp_keeps_the_middle_of_the_image():
    image = np.zeros((40, 40, 3), np.uint8)
    image[18:22, 18:22] = 255
    for turned in runs(only(rotation=180), image, 20):
        weight = turned[..., 0].astype(float)
        rows, columns = np.mgrid[:40, :40]
        assert (weight * rows).sum() / weight.sum() == pytest.approx(19.5, abs=0.1)
        assert (weight * columns).sum() / weight.sum() == pytest.approx(19.5, abs=0.1)


def test_occlusion_is_one_rectangle_of_one_colour_within_its_size():
    image = np.zeros((50, 80, 3), np.uint8)
    places = set()
    for covered in runs(only(occlusion=1.0, occlusion_size=(0.2, 0.5)), image):
        rows, columns = np.nonzero(covered.any(axis=2))
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 10 <= height <= 25
        assert 16 <= width <= 40
        assert len(rows) == height * width
        assert len(np.unique(covered[rows, columns], axis=0)) == 1
        places.add((rows.min(), columns.min()))
    assert len(places) > 20


def test_occlusion_can_cover_all_or_nothing():
    image = face()
    for covered in runs(only(occlusion=1.0, occlusion_size=(1, 1)), image, 5):
        assert len(np.unique(covered.reshape(-1, 3), axis=0)) == 1
    for covered in runs(only(occlusion=1.0, occlusion_size=(0, 0)), image, 5):
        np.testing.assert_array_equal(covered, image)


def test_masks_come_at_their_probability_and_leave_the_eyes():
    image = face(112, 112)
    for probability in (0.0, 0.3, 1.0):
        masked = runs(only(mask=probability), image, 200)
        worn = sum((one != image).any() for one in masked)
        # Five standard deviations of a binomial.
        spread = (200 * probability * (1 - probability)) ** 0.5
        assert abs(worn - 200 * probability) <= 5 * spread
        for one in masked:
            np.testing.assert_array_equal(one[:50], image[:50])
    assert len({one.tobytes() for one in runs(only(mask=1.0), image, 30)}) == 30


def test_a_mask_goes_on_the_mirrored_face_and_moves_with_it():
    image = face(112, 112)
    for index in range(10):
        worn = Augmenter(only(mask=1.0))(image, sample_rng(4, 0, index))[0]
        turned = Augmenter(only(mask=1.0, rotation=40))(image, sample_rng(4, 0, index))[0]
        alone = Augmenter(only(rotation=40))(worn, sample_rng(4, 0, index))[0]
        np.testing.assert_array_equal(turned, alone)
        mirrored = Augmenter(Augmentation(flip=1.0, mask=1.0))(image, sample_rng(4, 0, index))[0]
        worn = Augmenter(only(mask=1.0))(cv2.flip(image, 1), sample_rng(4, 0, index))[0]
        np.testing.assert_array_equal(mirrored, worn)


@pytest.mark.parametrize("points", [5, 68])
def test_a_mask_goes_where_the_landmarks_are(points):
    image = face(112, 112)
    # A face of half the size in the lower right corner.
    five = template(56) + 50
    marks = five if points == 5 else markup_of(five)
    landmarks = to_fractions(marks, image.shape)
    for index in range(5):
        worn = Augmenter(only(mask=1.0))(image, sample_rng(4, 0, index), landmarks)[0]
        assert (worn != image).any()
        np.testing.assert_array_equal(worn[:75], image[:75])
        np.testing.assert_array_equal(worn[:, :45], image[:, :45])
        mirrored = Augmenter(Augmentation(flip=1.0, mask=1.0))(
            image, sample_rng(4, 0, index), landmarks
        )[0]
        turned = cv2.flip(image, 1), sample_rng(4, 0, index), mirror(landmarks)
        expected = Augmenter(only(mask=1.0))(*turned)[0].astype(int)
        np.testing.assert_allclose(mirrored, expected, atol=2)  # rounding of the mean of an eye
    with pytest.raises(FacedistillError, match="show no face within"):
        Augmenter(only(mask=1.0))(image, sample_rng(4, 0, 0), landmarks + 3)


def markup_of(five):
    """Return 68 points that reduce to these five."""
    marks = np.zeros((68, 2))
    marks[36:42], marks[42:48] = five[0], five[1]
    marks[[30, 48, 54]] = five[2:]
    return marks


def test_mask_leaves_the_other_draws_as_they_were():
    image = face(112, 112)
    for index in range(10):
        plain = Augmenter(only(rotation=20, jpeg=0.5, brightness=0.3))(
            image, sample_rng(1, 0, index)
        )[0]
        same = only(rotation=20, jpeg=0.5, brightness=0.3, mask=1e-12)
        np.testing.assert_array_equal(plain, Augmenter(same)(image, sample_rng(1, 0, index))[0])


def test_a_crop_too_small_for_a_mask_is_refused():
    with pytest.raises(FacedistillError, match="too small for a mask"):
        Augmenter(only(mask=1.0))(face(8, 8), sample_rng(0, 0, 0))


def test_brightness_goes_both_ways_within_its_range():
    image = face()
    gains = [lit.mean() / image.mean() for lit in runs(only(brightness=0.2), image)]
    assert 0.79 < min(gains) < 0.95
    assert 1.05 < max(gains) < 1.21


def test_contrast_changes_the_spread_and_keeps_the_mean():
    image = np.repeat(face()[..., :1], 3, axis=2)
    lit = runs(only(contrast=0.3), image)
    for one in lit:
        assert one.mean() == pytest.approx(image.mean(), abs=1.5)
    stretches = [one.std() / image.std() for one in lit]
    assert 0.68 < min(stretches) < 0.9
    assert 1.1 < max(stretches) < 1.32


def test_light_saturates_instead_of_wrapping():
    white = np.full((4, 4, 3), 250, np.uint8)
    assert min(one.min() for one in runs(only(brightness=1.0, contrast=0.0), white, 30)) < 100
    brightest = max(runs(only(brightness=1.0), white, 30), key=np.mean)
    np.testing.assert_array_equal(brightest, 255)


def test_grayscale_weighs_the_channels_as_rgb():
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 0] = 200
    for gray in runs(only(grayscale=1.0), image, 3):
        np.testing.assert_array_equal(gray, round(0.299 * 200))


def test_blur_and_downscale_take_detail_away():
    image = np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)
    for augmentation in (only(blur=1.0), only(downscale=1.0)):
        for softened in runs(augmentation, image, 20):
            assert sharpness(softened) < sharpness(image)
            assert softened.mean() == pytest.approx(image.mean(), abs=4)


def test_jpeg_loses_more_at_lower_quality_and_keeps_colours_in_place():
    image = face()

    def loss(quality):
        compressed = runs(only(jpeg=1.0, jpeg_quality=(quality, quality)), image, 1)[0]
        return np.abs(compressed.astype(int) - image).mean()

    assert loss(10) > loss(50) > loss(95)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    compressed = runs(only(jpeg=1.0, jpeg_quality=(95, 95)), red, 1)[0]
    assert compressed[..., 0].min() > 245
    assert compressed[..., 1:].max() < 10


@settings(max_examples=60, deadline=None)
@given(
    probabilities=st.lists(st.floats(0, 1), min_size=7, max_size=7),
    amounts=st.tuples(
        st.floats(0, 0.5), st.floats(0, 0.9), st.floats(0, 180), st.floats(0, 1), st.floats(0, 1)
    ),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    occlusion=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    sigma=st.tuples(st.floats(0.1, 20), st.floats(0.1, 20)).map(sorted),
    factor=st.tuples(st.floats(0.02, 1), st.floats(0.02, 1)).map(sorted),
    quality=st.tuples(st.integers(1, 100), st.integers(1, 100)).map(sorted),
    index=st.integers(0, 2**40),
)
def test_any_valid_setting_gives_a_valid_image(
    probabilities, amounts, size, occlusion, sigma, factor, quality, index
):
    names = ("flip", "affine", "occlusion", "grayscale", "blur", "downscale", "jpeg")
    augmentation = Augmentation(
        **dict(zip(names, probabilities, strict=True)),
        **dict(zip(("shift", "scale", "rotation", "brightness", "contrast"), amounts, strict=True)),
        occlusion_size=occlusion,
        blur_sigma=sigma,
        downscale_factor=factor,
        jpeg_quality=quality,
    )
    augmented, flipped = Augmenter(augmentation)(face(*size), sample_rng(0, 0, index))
    assert augmented.shape == (*size, 3)
    assert augmented.dtype == np.uint8
    assert isinstance(flipped, bool)


@given(
    seed=st.integers(0, 2**32),
    height=st.integers(40, 90),
    width=st.integers(40, 90),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
    shift=st.floats(0, 0.2),
    scale=st.floats(0, 0.4),
    rotation=st.floats(0, 90),
)
@settings(max_examples=60, deadline=None)
def test_an_image_marked_at_its_points_has_its_marks_at_the_moved_points(
    seed, height, width, flip, shift, scale, rotation
):
    augmentation = Augmentation(flip=flip, shift=shift, scale=scale, rotation=rotation)
    points = np.random.default_rng(seed).uniform(0.35, 0.65, (5, 2)).astype(np.float32)
    rng = sample_rng(seed, 1, 2)
    moved = Augmenter(augmentation).move_landmarks(points, (height, width), rng)
    assert (moved.dtype, moved.shape) == (np.float32, (5, 2))
    ys, xs = np.indices((height, width))
    for mark, (x, y) in enumerate(to_pixels(points, (height, width))):
        spot = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * 2.0**2))
        image = np.rint(255 * spot[..., None].repeat(3, axis=2)).astype(np.uint8)
        augmented, flipped = Augmenter(augmentation)(image, sample_rng(seed, 1, 2))
        now = (1, 0, 2, 4, 3)[mark] if flipped else mark
        right, down = to_pixels(moved[now : now + 1], (height, width))[0]
        if not (8 <= right <= width - 9 and 8 <= down <= height - 9):
            continue  # Its spot is cut by the border.
        weight = augmented[..., 0] * ((xs - right) ** 2 + (ys - down) ** 2 < 64.0)
        centre = np.array([(xs * weight).sum(), (ys * weight).sum()]) / weight.sum()
        np.testing.assert_allclose(centre, (right, down), atol=0.15)


def test_landmarks_stay_where_nothing_moves_them():
    points = np.random.default_rng(0).random((5, 2)).astype(np.float32)
    for augmentation in (Augmentation.none(), only(brightness=0.5, jpeg=1.0, occlusion=1.0)):
        moved = Augmenter(augmentation).move_landmarks(points, (48, 40), sample_rng(0, 0, 0))
        np.testing.assert_array_equal(moved, points)
