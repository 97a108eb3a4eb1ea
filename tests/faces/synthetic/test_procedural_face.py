import dataclasses
import hashlib
import subprocess
import sys
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.core.errors import FacedistillError
from facedistill.faces.synthetic import head_sight
from facedistill.faces.synthetic.head_geometry import Features, skin_radius, surface_points
from facedistill.faces.synthetic.head_sight import Camera, look, pose
from facedistill.faces.synthetic.nuisance import COVERS, Nuisance, draw_nuisance
from facedistill.faces.synthetic.procedural_face import procedural_face
from facedistill.faces.synthetic.rendering import render
from facedistill.faces.synthetic.traits import Identity, draw_identity, trait_ranges
from facedistill.runtime.alignment import similarity_transform, template, transform_points

SYMMETRIC = Identity()  # the middle of every asymmetry is none
seeds = st.integers(0, 2**31)


def geometry(identity, nuisance, size=112):
    features = Features.of(identity, nuisance)
    skin = skin_radius(identity, nuisance, features)
    points = surface_points(skin, features.landmarks)
    return features, skin, points, Camera.aligned(nuisance, points, size)


def digest(face):
    image, landmarks = face
    return hashlib.sha256(image.tobytes() + landmarks.tobytes()).hexdigest()


def test_same_numbers_give_the_same_bytes_in_a_fresh_process():
    procedural_face(3, 7, 1)  # caches warmed by another face must not matter
    here = digest(procedural_face(3, 8, 2))
    code = (
        "import hashlib\n"
        "from facedistill.faces.synthetic.procedural_face import procedural_face as face\n"
        "i, l = face(3, 8, 2); print(hashlib.sha256(i.tobytes() + l.tobytes()).hexdigest())"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here == digest(procedural_face(3, 8, 2))


def test_every_argument_changes_the_face():
    base = procedural_face(1, 2, 3)
    others = [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 3, 112, 0.5)]
    assert len({digest(base), *(digest(procedural_face(*other)) for other in others)}) == 5


def test_photograph_zero_does_not_repeat_the_draws_of_its_person():
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


def test_size_scales_the_picture_and_not_the_scene():
    small, small_marks = render(SYMMETRIC, Nuisance(yaw=20.0), 56)
    large, large_marks = render(SYMMETRIC, Nuisance(yaw=20.0), 112)
    np.testing.assert_allclose(2 * small_marks, large_marks, atol=1e-3)
    difference = np.abs(large[::2, ::2].astype(int) - small.astype(int))
    assert difference.mean() < 4


@pytest.mark.parametrize("size", [15, 0, -1, 1025])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(FacedistillError, match="16 to 1024"):
        procedural_face(0, 0, 0, size)


@pytest.mark.parametrize("difficulty", [-0.1, 1.6, float("nan")])
def test_impossible_difficulties_are_refused(difficulty):
    with pytest.raises(FacedistillError, match="difficulty"):
        procedural_face(0, 0, 0, difficulty=difficulty)


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_traits_stay_in_their_ranges(seed):
    identity = draw_identity(np.random.default_rng(seed))
    for name, (low, high) in trait_ranges().items():
        assert low <= getattr(identity, name) <= high, name


def test_people_differ_in_every_trait():
    people = [draw_identity(np.random.default_rng(seed)) for seed in range(200)]
    for name, (low, high) in trait_ranges().items():
        values = np.array([getattr(person, name) for person in people])
        assert values.std() > 0.1 * (high - low), name
        assert len(np.unique(values)) > 15, name


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0, 1.5))
def test_circumstances_stay_in_their_ranges(seed, difficulty):
    drawn = draw_nuisance(np.random.default_rng(seed), difficulty)
    assert abs(drawn.yaw) <= 65
    assert abs(drawn.pitch) <= 30
    assert drawn.distance >= 3.0
    assert -0.6 <= drawn.smile <= 1
    for name in ("mouth_open", "brow_raise", "eye_closure", "light_strength", "saturation"):
        assert 0 <= getattr(drawn, name) <= 1, name
    assert abs(drawn.gaze_x) <= 1
    assert abs(drawn.gaze_y) <= 1
    assert drawn.blur >= 0
    assert drawn.motion >= 0
    assert drawn.noise >= 0


def test_difficulty_zero_is_frontal_clean_and_uncovered():
    for seed in range(20):
        drawn = draw_nuisance(np.random.default_rng(seed), 0.0)
        assert (drawn.yaw, drawn.pitch, drawn.roll, drawn.smile) == (0, 0, 0, 0)
        assert (drawn.blur, drawn.motion, drawn.noise, drawn.cover) == (0, 0, 0, "none")


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(-60, 60), st.floats(-30, 30))
def test_landmarks_are_where_the_rays_see_the_features(seed, yaw, pitch):
    """The renderer walks rays inwards, the landmarks are projected outwards: both must agree."""
    identity = draw_identity(np.random.default_rng(seed))
    nuisance = Nuisance(yaw=yaw, pitch=pitch, roll=3.0, shift_x=2.0, scale=1.05)
    features, skin, points, camera = geometry(identity, nuisance)
    landmarks = render(identity, nuisance)[1]
    sight = look(skin, camera, 112)
    turned = points @ pose(yaw, pitch).T
    for (u, v), (x, y), point in zip(features.landmarks, landmarks, turned, strict=True):
        column, row = round(float(x)), round(float(y))
        if not (2 <= column < 110 and 2 <= row < 110) or sight.alpha[row, column] < 1:
            continue
        if sight.lift[row, column] > point[2] + 0.08:
            continue  # hidden behind the nose or the brow
        around = np.s_[row - 2 : row + 3, column - 2 : column + 3]
        distance = np.hypot(sight.u[around] - u, sight.v[around] - v)
        assert distance.min() < 0.06


def test_frontal_landmarks_lie_where_the_chart_says():
    features, skin, _, camera = geometry(SYMMETRIC, Nuisance())
    sight = look(skin, camera, 112)
    landmarks = render(SYMMETRIC, Nuisance())[1]
    for (u, v), mark in zip(features.landmarks, landmarks, strict=True):
        distance = np.hypot(sight.u - u, sight.v - v)
        row, column = np.unravel_index(distance.argmin(), distance.shape)
        assert np.hypot(column - mark[0], row - mark[1]) < 1.0


def test_projection_by_hand():
    nuisance = Nuisance(yaw=30.0, pitch=-10.0, distance=6.0)
    _, _, points, camera = geometry(SYMMETRIC, nuisance)
    yaw, pitch = np.radians(30.0), np.radians(-10.0)
    plane = []
    for x, y, z in points:
        x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        y, z = y * np.cos(pitch) - z * np.sin(pitch), z * np.cos(pitch) + y * np.sin(pitch)
        plane.append((6.0 * x / (6.0 - z), 6.0 * y / (6.0 - z)))
    placed = transform_points(np.array(plane), similarity_transform(np.array(plane), template()))
    np.testing.assert_allclose(placed, camera.project(points), atol=1e-9)
    np.testing.assert_allclose(placed, render(SYMMETRIC, nuisance)[1], atol=1e-4)


def test_points_lie_on_the_rays_through_their_pixels():
    _, _, points, camera = geometry(SYMMETRIC, Nuisance(yaw=-40.0, pitch=12.0, roll=4.0))
    start, run = camera.rays(112)
    row, column = 60, 50
    for lift in (-0.3, 0.2, 0.9):
        point = start[:, row, column] + lift * run[:, row, column]
        np.testing.assert_allclose(camera.project(point[None])[0], (column, row), atol=1e-3)
        assert point.shape == points[0].shape


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


def test_mirrored_yaw_mirrors_the_landmarks():
    for yaw in (10.0, 35.0, 60.0):
        left, right = (
            geometry(SYMMETRIC, Nuisance(yaw=side * yaw, pitch=7.0))[2:] for side in (-1, 1)
        )
        # Before the template, which is not quite symmetric itself, has placed them.
        plane = [
            dataclasses.replace(cam, placement=np.eye(2, 3)).project(p) for p, cam in (left, right)
        ]
        mirrored = plane[1][[1, 0, 2, 4, 3]] * (-1, 1)
        np.testing.assert_allclose(plane[0], mirrored, atol=1e-6)


def test_the_nose_moves_against_the_eyes():
    def offset(yaw):
        eye, other, nose = render(SYMMETRIC, Nuisance(yaw=yaw))[1][:3]
        return (nose[0] - (eye[0] + other[0]) / 2) / np.linalg.norm(other - eye)

    offsets = [offset(yaw) for yaw in range(-60, 61, 10)]
    assert np.all(np.diff(offsets) > 0.05)
    assert offsets[0] < 0 < offsets[-1]


def test_the_far_eye_hides_behind_the_nose():
    features, skin, points, camera = geometry(
        dataclasses.replace(SYMMETRIC, bridge_height=0.15), Nuisance(yaw=70.0)
    )
    x, y = np.rint(camera.project(points)[1]).astype(int)
    sight = look(skin, camera, 112)
    assert np.hypot(sight.u[y, x] - features.eye_u, sight.v[y, x] - features.eye_v) > 0.1


def test_the_lit_side_is_brighter():
    left = render(SYMMETRIC, Nuisance(light_azimuth=-60.0, light_strength=0.9))[0].astype(float)
    right = render(SYMMETRIC, Nuisance(light_azimuth=60.0, light_strength=0.9))[0].astype(float)
    cheeks = np.s_[62:80, 25:40], np.s_[62:80, 72:87]
    assert left[cheeks[0]].mean() > left[cheeks[1]].mean() + 20
    assert right[cheeks[1]].mean() > right[cheeks[0]].mean() + 20


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


def test_a_smile_widens_the_mouth_and_lifts_its_corners():
    plain, smiling = (Features.of(SYMMETRIC, Nuisance(smile=smile)) for smile in (0.0, 1.0))
    assert np.ptp(smiling.landmarks[3:, 0]) > 1.1 * np.ptp(plain.landmarks[3:, 0])
    assert np.all(smiling.landmarks[3:, 1] < plain.landmarks[3:, 1] - 0.03)
    eyes, mouth = (
        render(SYMMETRIC, Nuisance(smile=1.0))[1][part] for part in (np.s_[:2], np.s_[3:])
    )
    plain_eyes, plain_mouth = (
        render(SYMMETRIC, Nuisance())[1][part] for part in (np.s_[:2], np.s_[3:])
    )
    assert np.ptp(mouth[:, 0]) / np.ptp(eyes[:, 0]) > np.ptp(plain_mouth[:, 0]) / np.ptp(
        plain_eyes[:, 0]
    )


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


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0, 1.5))
def test_any_face_renders_without_warnings_and_shows_something(seed, difficulty):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image, landmarks = procedural_face(seed, 1, 2, 64, difficulty)
    assert image.std() > 2
    assert np.isfinite(landmarks).all()


def test_rays_find_what_a_slow_search_finds():
    identity = draw_identity(np.random.default_rng(4))
    _, skin, _, camera = geometry(identity, Nuisance(yaw=40.0))
    sight = look(skin, camera, 56)
    start, run = camera.rays(56)
    walk = head_sight._Walk(start, run, np.zeros_like(start[0]))
    first = np.full(sight.lift.shape, np.nan)
    for lift in np.arange(1.6, -1.0, -0.01):
        walk.lift[:] = lift
        hit = (walk.measure(skin) <= 0) & np.isnan(first)
        first[hit] = lift
    covered = ~np.isnan(first)
    assert (covered == (sight.alpha > 0.5)).mean() > 0.98
    both = covered & (sight.alpha == 1)
    wrong = np.abs(first - sight.lift)[both] > 0.05
    assert wrong.mean() < 0.01


def pixel_accuracy(difficulty):
    """Verification accuracy of the cosine of raw, centred pixels over 120 pairs."""
    same, other = [], []
    for person in range(60):
        faces = [
            procedural_face(9, *which, 32, difficulty)[0].astype(float).ravel()
            for which in ((person, 0), (person, 1), (person + 100, 0))
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
