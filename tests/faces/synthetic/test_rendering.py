import warnings

import numpy as np
import pytest
from hypothesis import given, settings

from facedistill.faces.synthetic.nuisance import COVERS, Nuisance
from facedistill.faces.synthetic.rendering import render
from facedistill.faces.synthetic.traits import Identity, draw_identity, trait_ranges
from facedistill.runtime.alignment import template
from tests.faces.synthetic.head import SYMMETRIC, seeds


def test_size_scales_the_image_and_not_the_scene():
    small, small_marks = render(SYMMETRIC, Nuisance(yaw=20.0), 56)
    large, large_marks = render(SYMMETRIC, Nuisance(yaw=20.0), 112)
    np.testing.assert_allclose(2 * small_marks, large_marks, atol=1e-3)
    difference = np.abs(large[::2, ::2].astype(int) - small.astype(int))
    assert difference.mean() < 4


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_frontal_faces_lie_on_the_template_up_to_their_shape(seed):
    landmarks = render(draw_identity(np.random.default_rng(seed)), Nuisance(), 112)[1]
    # The traits at their ends together come to 14.2, in the height of the nose.
    assert np.abs(landmarks - template()).max() < 15
    np.testing.assert_allclose(landmarks.mean(axis=0), template().mean(axis=0), atol=1e-3)


def test_misalignment_moves_landmarks_exactly():
    plain = render(SYMMETRIC, Nuisance())[1]
    moved = render(SYMMETRIC, Nuisance(shift_x=3.0, shift_y=-2.0))[1]
    np.testing.assert_allclose(moved - plain, np.tile([3.0, -2.0], (5, 1)), atol=1e-4)
    turned = render(SYMMETRIC, Nuisance(roll=90.0))[1]
    # Clockwise about the middle: right becomes down.
    np.testing.assert_allclose(turned[:, 0] - 56, -(plain[:, 1] - 56), atol=1e-4)
    np.testing.assert_allclose(turned[:, 1] - 56, plain[:, 0] - 56, atol=1e-4)


def test_the_nose_moves_against_the_eyes():
    def offset(yaw):
        eye, other, nose = render(SYMMETRIC, Nuisance(yaw=yaw))[1][:3]
        return (nose[0] - (eye[0] + other[0]) / 2) / np.linalg.norm(other - eye)

    offsets = [offset(yaw) for yaw in range(-60, 61, 10)]
    assert np.all(np.diff(offsets) > 0.05)
    assert offsets[0] < 0 < offsets[-1]


@pytest.mark.parametrize(
    ("change", "region"),
    [
        ({"mouth_open": 1.0}, np.s_[80:108, 30:82]),
        ({"eye_closure": 1.0}, np.s_[44:60, 28:84]),
        ({"brow_raise": 1.0}, np.s_[34:52, 28:84]),
        ({"cover": "sunglasses"}, np.s_[40:64, 24:88]),
        ({"cover": "glasses"}, np.s_[40:64, 24:88]),
        ({"cover": "mask"}, np.s_[72:104, 30:82]),
    ],
)
def test_expressions_and_covers_change_their_own_region(change, region):
    plain = render(SYMMETRIC, Nuisance())[0].astype(int)
    changed = render(SYMMETRIC, Nuisance(**change))[0].astype(int)
    difference = np.abs(plain - changed).mean(axis=2)
    assert difference[region].mean() > 1.3 * difference.mean()
    assert difference[region].mean() > 1.5


@pytest.mark.parametrize(
    "extreme",
    [
        {"yaw": 90.0},
        {"yaw": -90.0, "pitch": 60.0},
        {"pitch": -60.0},
        {"distance": 3.5, "yaw": 50.0},
        {"shift_x": 80.0, "shift_y": -80.0},
        {"scale": 0.3, "roll": 180.0},
        {"scale": 3.0},
        {"smile": 1.0, "mouth_open": 1.0, "brow_raise": 1.0, "eye_closure": 1.0},
        {"smile": -0.6, "gaze_x": 1.0, "gaze_y": -1.0},
        {"light_azimuth": 180.0, "light_elevation": -90.0, "light_strength": 1.0},
        {"exposure": 20.0, "warmth": 2.0, "tint": -1.0, "contrast": 3.0},
        {"exposure": 0.0, "saturation": 0.0},
        {"hair_lift": -0.5, "hair_drop": 0.1, "stubble": 0.3, "clutter": 1.0},
        {"blur": 8.0, "motion": 20.0, "noise": 80.0},
        *(
            {"cover": cover, "yaw": yaw, "cover_seed": 5}
            for cover in COVERS
            for yaw in (-60.0, 85.0)
        ),
    ],
)
def test_extremes_render_without_warnings(extreme):
    lows = {name: low for name, (low, _) in trait_ranges().items()}
    highs = {name: high for name, (_, high) in trait_ranges().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for identity in (Identity(**lows), Identity(**highs), SYMMETRIC):
            for size in (16, 112):
                image, landmarks = render(identity, Nuisance(**extreme), size)
                assert image.shape == (size, size, 3)
                assert np.isfinite(landmarks).all()
