import math

import pytest
import torch

from facedistill.distill.objectives.cross_architecture.place_features import REACH, place_features


def test_places_are_alike_as_a_gaussian_of_their_distance_on_any_two_grids():
    of_student, of_teacher = place_features(4, 512), place_features(7, 512)
    assert of_student.shape == (16, 512)
    torch.testing.assert_close(of_student.norm(dim=1), torch.ones(16, dtype=torch.float64))

    def gauss(distance):
        return math.exp(-(distance**2) / (2 * REACH**2))

    for i in range(16):
        for j in range(49):
            across = (i % 4 + 0.5) / 4 - (j % 7 + 0.5) / 7
            down = (i // 4 + 0.5) / 4 - (j // 7 + 0.5) / 7
            wanted = (gauss(across) + gauss(down)) / 2
            assert float(of_student[i] @ of_teacher[j]) == pytest.approx(wanted, abs=0.02)


def test_a_place_has_the_same_features_on_every_grid():
    # The middle of the face, and a cell of a 3 x 3 grid that is the middle of nine of a 9 x 9 one.
    torch.testing.assert_close(place_features(1, 8)[0], place_features(5, 8)[12])
    torch.testing.assert_close(place_features(3, 8)[5], place_features(9, 8)[9 * 4 + 7])


def test_a_width_that_places_cannot_fill_is_refused():
    with pytest.raises(ValueError, match="width 6 is no multiple of 4"):
        place_features(3, 6)
