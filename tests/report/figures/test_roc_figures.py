import numpy as np
import pytest

from facedistill.core.estimate import Interval
from facedistill.evaluation.metrics.roc import OperatingPoint, roc_curve, tar_at_far
from facedistill.evaluation.metrics.score_histogram import count_scores
from facedistill.report.figures.curves import roc_points
from facedistill.report.figures.roc_figures import draw_det, draw_roc, draw_scores, lowest_measured
from facedistill.report.page import drawing_uri


def verifier(pairs=2000, gap=0.5):
    rng = np.random.default_rng(0)
    same = np.arange(pairs) % 2 == 0
    return np.clip(rng.normal(np.where(same, gap, 0), 0.2), -1, 1), same


def test_the_roc_is_the_curve_with_its_points():
    curve = roc_curve(*verifier())
    point = tar_at_far(curve, 0.01)
    figure = draw_roc({"a": curve, "b": curve}, [point], {"1e-2": Interval(0.5, 0.6, "pairs", 9)})
    (axes,) = figure.axes
    drawn = axes.lines[0].get_xydata()
    np.testing.assert_allclose(drawn, np.stack([*roc_points(curve)], axis=1) * [1, 100])
    assert axes.get_xscale() == "log"
    bar, dot = axes.lines[2:]
    assert list(bar.get_ydata()) == [50, 60]
    assert dot.get_xydata().tolist() == [[0.01, 100 * point.tar]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]


def test_normal_scores_give_a_straight_det_curve():
    rng = np.random.default_rng(0)
    same = np.arange(200_000) % 2 == 0
    curve = roc_curve(rng.normal(np.where(same, 2.0, 0.0), 1.0), same)
    (axes,) = draw_det({"a": curve}).axes
    x, y = axes.lines[0].get_xydata().T
    middle = (x > -2) & (x < 0)
    # Of equal spreads, the line falls as steeply as it runs, two spreads below the origin.
    slope, offset = np.polyfit(x[middle], y[middle], 1)
    assert slope == pytest.approx(-1, abs=0.05)
    assert offset == pytest.approx(-2, abs=0.05)


@pytest.mark.parametrize("gap", [0.0, 5.0])
def test_verifiers_that_are_always_or_never_right_are_drawn_too(gap):
    scores, same = verifier(60, gap)
    curve = roc_curve(scores, same)
    for figure in (draw_roc({"a": curve}), draw_det({"a": curve})):
        assert drawing_uri(figure)
    assert drawing_uri(draw_scores(count_scores(scores, same)))
    assert drawing_uri(draw_det({"a": roc_curve(np.full(4, 0.5), np.arange(4) % 2 == 0)}))


@pytest.mark.parametrize("pairs", [400, 40_000, 400_000])
def test_scores_are_drawn_as_shares_of_their_kind(pairs):
    figure = draw_scores(count_scores(*verifier(pairs)), {"FAR 1e-2": 0.4})
    (axes,) = figure.axes
    for patch in axes.patches:
        assert patch.get_data().values.sum() == pytest.approx(100)
    assert list(axes.lines[0].get_xdata()) == [0.4, 0.4]


def test_the_lowest_rate_is_one_that_all_measured():
    def points(*tars):
        return [
            OperatingPoint(far, 10, tar=tar) for far, tar in zip((0.1, 0.01), tars, strict=True)
        ]

    assert lowest_measured([points(0.5, 0.4), points(0.5, 0.3)]) == 0.01
    assert lowest_measured([points(0.5, 0.4), points(0.5, None)]) == 0.1
    assert lowest_measured([points(None, None)]) is None
