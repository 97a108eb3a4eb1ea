import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from facedistill.core.estimate import Estimate
from facedistill.evaluation.statistics.pareto_front import ParetoPanel, ParetoPoint, pareto_front

small = st.integers(0, 4).map(float)


@given(st.lists(st.tuples(small, small), min_size=1, max_size=8))
def test_the_front_is_what_no_other_point_beats(points):
    costs, gains = np.array(points).T

    def beats(a, b):
        no_worse = a[0] <= b[0] and a[1] >= b[1]
        return no_worse and a != b

    wanted = [not any(beats(other, point) for other in points) for point in points]
    assert pareto_front(costs, gains).tolist() == wanted


def test_what_is_not_finite_is_on_no_front_and_beats_none():
    costs, gains = np.array([1, 2, np.nan, 0.5]), np.array([0.9, np.inf, 1.0, np.nan])
    assert pareto_front(costs[[0, 2, 3]], gains[[0, 2, 3]]).tolist() == [True, False, False]
    assert not pareto_front(costs, gains)[1]


def test_of_errors_less_is_better():
    points = [
        ParetoPoint(name, cost, Estimate(error, None))
        for name, cost, error in (("a", 1, 0.3), ("b", 2, 0.1), ("c", 3, 0.2))
    ]
    assert ParetoPanel("ms", "nme", points, less_is_better=True).front().tolist() == [1, 1, 0]
    assert ParetoPanel("ms", "accuracy", points).front().tolist() == [1, 0, 0]
