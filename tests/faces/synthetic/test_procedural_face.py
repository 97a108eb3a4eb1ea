import hashlib
import os
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.faces.synthetic.nuisance import draw_nuisance
from facedistill.faces.synthetic.procedural_face import procedural_face
from facedistill.faces.synthetic.traits import draw_identity
from facedistill.runtime.alignment import similarity_transform, template, transform_points
from tests.faces.synthetic.head import seeds


def digest(*faces):
    parts = b"".join(image.tobytes() + landmarks.tobytes() for image, landmarks in faces)
    return hashlib.sha256(parts).hexdigest()


def test_same_numbers_give_the_same_bytes_in_a_fresh_process_of_more_threads():
    procedural_face(3, 7, 1)  # caches warmed by another face must not matter
    here = digest(*(procedural_face(3, 8, photo) for photo in range(12)))
    code = (
        "from facedistill.faces.synthetic.procedural_face import procedural_face\n"
        "from tests.faces.synthetic.test_procedural_face import digest\n"
        "print(digest(*(procedural_face(3, 8, photo) for photo in range(12))))"
    )
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "4")
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **threads},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.strip() == here
    assert digest(*(procedural_face(3, 8, photo) for photo in range(12))) == here


def test_every_argument_changes_the_face():
    base = procedural_face(1, 2, 3)
    others = [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 3, 112, 0.5)]
    assert len({digest(base), *(digest(procedural_face(*other)) for other in others)}) == 5


def test_photograph_zero_does_not_repeat_the_draws_of_its_identity():
    faces = np.array(
        [draw_identity(np.random.default_rng((1, 0, i))).eye_spacing for i in range(99)]
    )
    yaws = np.array([draw_nuisance(np.random.default_rng((2, 0, i, 0))).yaw for i in range(99)])
    assert abs(np.corrcoef(faces, yaws)[0, 1]) < 0.4
    first = np.random.default_rng((1, 0, 5)).standard_normal()
    assert first != np.random.default_rng((2, 0, 5, 0)).standard_normal()


@pytest.mark.parametrize("size", [16, 63, 64, 112, 160])
def test_sizes_and_types(size):
    image, landmarks = procedural_face(0, 0, 0, size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert landmarks.shape == (5, 2)
    assert landmarks.dtype == np.float32


@pytest.mark.parametrize("size", [15, 0, -1, 1025])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(FacedistillError, match="16 to 1024"):
        procedural_face(0, 0, 0, size)


@pytest.mark.parametrize("difficulty", [-0.1, 1.6, float("nan")])
def test_impossible_difficulties_are_refused(difficulty):
    with pytest.raises(FacedistillError, match="difficulty"):
        procedural_face(0, 0, 0, difficulty=difficulty)


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0, 1.5))
def test_any_face_renders_without_warnings_and_shows_something(seed, difficulty):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, landmarks = procedural_face(seed, 1, 2, 64, difficulty)
    assert image.std() > 2
    assert np.isfinite(landmarks).all()


def pixel_accuracy(difficulty):
    """Verification accuracy of the cosine of raw, centred pixels over 120 pairs."""
    same, other = [], []
    for identity in range(60):
        faces = [
            procedural_face(9, *numbers, 32, difficulty)[0].astype(float).ravel()
            for numbers in ((identity, 0), (identity, 1), (identity + 100, 0))
        ]
        first, second, third = (
            (face - face.mean()) / np.linalg.norm(face - face.mean()) for face in faces
        )
        same.append(first @ second)
        other.append(first @ third)
    scores = np.concatenate([same, other])
    return max(((same >= cut).mean() + (other < cut).mean()) / 2 for cut in scores)


def test_pixels_alone_do_not_verify_hard_photographs():
    assert pixel_accuracy(1.0) < 0.78


def test_pixels_verify_better_as_photographs_get_easier():
    assert pixel_accuracy(0.0) > pixel_accuracy(1.0) + 0.05


def test_loose_crops_are_the_aligned_ones_moved():
    """The similarity between the two sets of landmarks takes one image onto the other."""
    kept = {"size": 96, "difficulty": 0.3}
    for identity in range(4):
        image, landmarks = procedural_face(5, identity, 0, **kept)
        loose, moved = procedural_face(5, identity, 0, **kept, loose=1.0)
        matrix = similarity_transform(moved, landmarks)
        np.testing.assert_allclose(transform_points(moved, matrix), landmarks, atol=1e-3)
        middle = slice(40, 80)
        back = cv2.warpAffine(loose, matrix, (96, 96), flags=cv2.INTER_LINEAR)[middle, middle]
        same = np.corrcoef(back.ravel(), image[middle, middle].ravel())[0, 1]
        assert same > 0.9, same


def test_loose_crops_are_turned_scaled_and_shifted_about_the_middle():
    faces = [procedural_face(5, i, 0, 16, 0.0, loose=1.0)[1] * 7 for i in range(60)]
    turns = np.array([similarity_transform(template(), points) for points in faces])
    scale = np.hypot(turns[:, 0, 0], turns[:, 1, 0])
    angle = np.degrees(np.arctan2(turns[:, 1, 0], turns[:, 0, 0]))
    middle = np.array([points.mean(axis=0) for points in faces]) - 56
    assert 0.7 < scale.min() < 0.85 < 1.1 < scale.max() < 1.25
    assert -21 < angle.min() < -15 < 15 < angle.max() < 21
    assert np.abs(middle).max() < 14
    assert (np.abs(middle.mean(axis=0)) < 4).all()


def test_looseness_out_of_range_is_refused():
    for loose in (-0.1, 1.1, float("nan")):
        with pytest.raises(FacedistillError, match="loose="):
            procedural_face(0, 0, 0, 16, loose=loose)
