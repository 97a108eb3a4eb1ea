import math

import pytest
import torch

from facedistill.distill.objectives.cross_architecture.facial_position import (
    bucket_index,
    euclid,
    facial_distance,
    relative_distance,
    saliency_distance,
)

# ArcFace's template at 112 x 112, written down once more.
LANDMARKS = [
    (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655),
    (70.7299, 92.2041),
]  # fmt: skip


def cells(side):
    return [(x, y) for y in range(side) for x in range(side)]


def index_by_hand(x, a, b, g):
    """The piecewise index of iRPE, for x >= 0; whole, as its bucket is."""
    if x <= a:
        return round(x)
    return int(min(b, round(a + math.log(x / a) / math.log(g / a) * (b - a))))


@pytest.mark.parametrize("buckets", [1, 2, 4, 8, 16])
def test_buckets_are_those_of_irpe(buckets):
    # 0.5 is rounded to even by both.
    distances = [n / 8 for n in range(600)] + [1e3, 1e6]
    a = (buckets - 0.2) / 2
    wanted = [index_by_hand(x, a, 2 * a, 8 * a) for x in distances]
    found = bucket_index(torch.tensor(distances, dtype=torch.float64), buckets)
    assert found.dtype == torch.int64
    assert found.tolist() == wanted
    assert set(wanted) == set(range(buckets))


def test_four_buckets_are_the_published_constants():
    distances = [0.0, 0.6, 1.9, 1.91, 5.0, 15.2, 100.0]
    wanted = [index_by_hand(x, 1.9, 3.8, 15.2) for x in distances]
    assert bucket_index(torch.tensor(distances, dtype=torch.float64), 4).tolist() == wanted
    assert wanted == [0, 1, 2, 2, 3, 3, 3]


@pytest.mark.parametrize("side", [1, 4, 7])
def test_euclid(side):
    middle = (side - 1) / 2
    wanted = [math.hypot(x - middle, y - middle) for x, y in cells(side)]
    assert euclid(side).tolist() == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("side", [4, 7])
def test_relative(side):
    def seen(x, y):
        pixel = 112 / side
        return [
            math.hypot((x + 0.5) * pixel - (u + 0.5), (y + 0.5) * pixel - (v + 0.5)) / pixel
            for u, v in LANDMARKS
        ]

    anchor = seen((side - 1) / 2, (side - 1) / 2)
    wanted = [
        math.sqrt(sum((p - q) ** 2 for p, q in zip(seen(*cell), anchor, strict=True)) / 5)
        for cell in cells(side)
    ]
    assert relative_distance(side).tolist() == pytest.approx(wanted, abs=1e-9)


def test_saliency_on_its_own_grid():
    saliency = torch.rand(7, 7) * 6
    wanted = [abs(float(saliency[y, x]) - float(saliency[3, 3])) for x, y in cells(7)]
    assert saliency_distance(saliency, 7).tolist() == pytest.approx(wanted, abs=1e-6)


def test_saliency_is_brought_to_the_grid_of_centres():
    saliency = torch.rand(8, 8) * 6
    means = [
        [float(saliency[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean()) for x in range(4)]
        for y in range(4)
    ]
    # No cell is in the middle of an even grid: the anchor is the mean of four.
    anchor = sum(means[y][x] for y in (1, 2) for x in (1, 2)) / 4
    wanted = [abs(means[y][x] - anchor) for x, y in cells(4)]
    assert saliency_distance(saliency, 4).tolist() == pytest.approx(wanted, abs=1e-6)
    assert saliency_distance(torch.full((4, 4), 2.0), 7).abs().max() < 1e-9


def test_distances_add_up():
    saliency = torch.rand(7, 7) * 6
    near, face = euclid(7), saliency_distance(saliency, 7)
    assert torch.equal(facial_distance(7, "euclid", 2.0), near)
    assert torch.equal(facial_distance(7, "saliency", 2.0, saliency), near + 2 * face)
    assert torch.equal(facial_distance(7, "relative", 0.5), near + 0.5 * relative_distance(7))
