import numpy as np

from facedistill.evaluation.protocols.distractors import distractor_rates
from facedistill.report.figures.identification_figures import draw_cmc, draw_distractors


def test_ranks_and_distractors_are_drawn():
    (axes,) = draw_cmc({"G1": np.array([0.5, 0.75, 1.0])}).axes
    assert axes.lines[0].get_xydata().tolist() == [[1, 50], [2, 75], [3, 100]]
    rng = np.random.default_rng(0)
    rates = distractor_rates(
        rng.normal(size=(8, 4)), np.arange(8) // 2, rng.normal(size=(100, 4)), resamples=10
    )
    (axes,) = draw_distractors(rates).axes
    first = [[rate.distractors, 100 * rate.rate.value] for rate in rates if rate.rank == 1]
    assert axes.lines[0].get_xydata().tolist() == first
