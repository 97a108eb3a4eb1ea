import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.runtime.alignment import (
    ARCFACE_TEMPLATE,
    align,
    similarity_transform,
    template,
    transform_points,
)

coordinates = st.floats(-500, 500, allow_nan=False)


def umeyama(source, target):
    """Umeyama's equations (40) to (43), one face at a time."""
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    left, values, right = np.linalg.svd(covariance)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ np.diag(signs) @ right
    scale = (values * signs).sum() / ((source - source_mean) ** 2).sum(axis=1).mean()
    shift = target_mean - scale * rotation @ source_mean
    return np.column_stack([scale * rotation, shift])


def similarity(scale, angle, x, y):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def test_agrees_with_umeyama_face_by_face():
    faces = np.random.default_rng(0).normal(0, 40, size=(200, 5, 2)) + 100
    expected = np.stack([umeyama(face, ARCFACE_TEMPLATE) for face in faces])
    np.testing.assert_allclose(
        similarity_transform(faces, ARCFACE_TEMPLATE), expected, rtol=1e-9, atol=1e-9
    )


def test_mirrored_face_gets_the_best_rotation_not_a_reflection():
    mirrored = ARCFACE_TEMPLATE * [-1, 1] + [112, 0]
    matrix = similarity_transform(mirrored, ARCFACE_TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0
    np.testing.assert_allclose(matrix, umeyama(mirrored, ARCFACE_TEMPLATE), atol=1e-9)


@given(st.floats(0.01, 100), st.floats(-np.pi, np.pi), coordinates, coordinates)
def test_recovers_a_known_similarity(scale, angle, x, y):
    known = similarity(scale, angle, x, y)
    faces = np.stack([ARCFACE_TEMPLATE, ARCFACE_TEMPLATE * 3 - 20])
    for face in faces:
        moved = transform_points(face, known)
        np.testing.assert_allclose(
            similarity_transform(face, moved), known, rtol=1e-7, atol=1e-7 * (1 + scale)
        )
    back = similarity_transform(transform_points(faces, known), ARCFACE_TEMPLATE)
    assert back.shape == (2, 2, 3)
    restored = transform_points(transform_points(faces, known), back)
    np.testing.assert_allclose(restored, np.stack([ARCFACE_TEMPLATE] * 2), atol=1e-6)


def test_no_similarity_nearby_is_better():
    rng = np.random.default_rng(1)
    face = ARCFACE_TEMPLATE + rng.normal(0, 6, size=(5, 2))
    best = similarity_transform(face, ARCFACE_TEMPLATE)

    def error(matrix):
        return ((transform_points(face, matrix) - ARCFACE_TEMPLATE) ** 2).sum()

    for a, b, x, y in rng.normal(0, 0.01, size=(100, 4)):
        nearby = best + np.array([[a, -b, 50 * x], [b, a, 50 * y]])
        assert error(nearby) > error(best)


def test_template_scales_and_cannot_be_overwritten():
    np.testing.assert_array_equal(template(), ARCFACE_TEMPLATE)
    np.testing.assert_allclose(template(224), 2 * ARCFACE_TEMPLATE)
    with pytest.raises(ValueError, match="read-only"):
        ARCFACE_TEMPLATE[0, 0] = 0
    with pytest.raises(FacedistillError, match="at least 1"):
        template(0)


@pytest.mark.parametrize(
    ("face", "message"),
    [
        (np.full((5, 2), 7.0), "face 1 all lie in one point"),
        (np.full((5, 2), np.nan), "face 1 are not finite"),
        (np.full((5, 2), np.inf), "face 1 are not finite"),
    ],
)
def test_degenerate_landmarks_are_named(face, message):
    with pytest.raises(FacedistillError, match=message):
        similarity_transform(np.stack([ARCFACE_TEMPLATE, face]), ARCFACE_TEMPLATE)


def test_mirror_of_a_line_free_square_determines_no_rotation():
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    with pytest.raises(FacedistillError, match="mirrored"):
        similarity_transform(square * [-1, 1], square)


@pytest.mark.parametrize("shape", [(5,), (4, 2), (2, 5, 3), (1, 1, 5, 2)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(FacedistillError, match="shape"):
        similarity_transform(np.ones(shape), ARCFACE_TEMPLATE)


def scene_with_dots(landmarks, height=200, width=260):
    rows, columns = np.mgrid[:height, :width]
    scene = np.zeros((height, width, 3))
    for x, y in landmarks:
        distance = (columns - x) ** 2 + (rows - y) ** 2
        scene += 255 * np.exp(-distance / 8)[..., None]
    return np.clip(scene, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [112, 64])
def test_dots_land_on_the_template(size):
    landmarks = transform_points(ARCFACE_TEMPLATE, similarity(1.2, 0.3, 60, 20))
    crop = align(scene_with_dots(landmarks), landmarks, size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    rows, columns = np.mgrid[:size, :size]
    for x, y in template(size):
        weight = crop[..., 0] * ((columns - x) ** 2 + (rows - y) ** 2 < (0.06 * size) ** 2)
        centre = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
        np.testing.assert_allclose(centre, (x, y), atol=0.15)


def test_already_aligned_crop_is_unchanged():
    crop = np.random.default_rng(2).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align(crop, ARCFACE_TEMPLATE), crop)
