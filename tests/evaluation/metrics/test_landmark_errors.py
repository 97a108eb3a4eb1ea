import math

import numpy as np
import pytest

from facedistill.core.errors import FacedistillError
from facedistill.evaluation.metrics.landmark_errors import (
    ced_area_shares,
    cumulative_curve,
    normalised_errors,
)
from tests.evaluation.landmark_evaluation import faces


@pytest.mark.parametrize(("points", "eyes"), [(5, (0, 1)), (68, (36, 45)), (98, (60, 72))])
def test_errors_by_hand(points, eyes):
    found, truth = faces(6, points)
    errors = normalised_errors(found, truth)
    for face in range(6):
        apart = math.dist(*truth[face, list(eyes)])
        for point in range(points):
            assert errors[face, point] == pytest.approx(
                math.dist(found[face, point], truth[face, point]) / apart
            )


def test_curve_rises_to_all_faces():
    errors, shares = cumulative_curve(np.array([0.3, 0.1, 0.2, 0.1]))
    assert errors.tolist() == [0.1, 0.1, 0.2, 0.3]
    assert shares.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert ced_area_shares(np.array([0.0, 0.05, 0.1, 0.4]), 0.1).tolist() == [1, 0.5, 0, 0]


def test_wrong_points_are_refused():
    found, truth = faces(3)
    with pytest.raises(FacedistillError, match=r"are \(3, 5, 2\), the true ones \(2, 5, 2\)"):
        normalised_errors(found, truth[:2])
    truth[1, 1] = truth[1, 0]
    with pytest.raises(FacedistillError, match="true eyes coincide of face 1"):
        normalised_errors(found, truth)
    found[2] = np.nan
    with pytest.raises(FacedistillError, match="not finite of face 2"):
        normalised_errors(found, faces(3)[1])
