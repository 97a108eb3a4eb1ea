import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facedistill.faces.synthetic import head_sight
from facedistill.faces.synthetic.head_sight import look, pose
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.rendering import render
from facedistill.faces.synthetic.traits import draw_identity
from facedistill.runtime.alignment import similarity_transform, template, transform_points
from tests.faces.synthetic.head import SYMMETRIC, geometry, seeds


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


def test_the_far_eye_hides_behind_the_nose():
    features, skin, points, camera = geometry(
        dataclasses.replace(SYMMETRIC, bridge_height=0.15), Nuisance(yaw=70.0)
    )
    x, y = np.rint(camera.project(points)[1]).astype(int)
    sight = look(skin, camera, 112)
    assert np.hypot(sight.u[y, x] - features.eye_u, sight.v[y, x] - features.eye_v) > 0.1


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
