import numpy as np

from facedistill.evaluation.metrics.score_histogram import BINS, EDGES, count_cosines, count_scores


def test_counts_are_numpys_and_the_ends_belong_inside():
    scores = np.random.default_rng(0).uniform(-1, 1, 5000)
    np.testing.assert_array_equal(count_cosines(scores), np.histogram(scores, EDGES)[0])
    ends = count_cosines(np.array([-1.0, 1.0, 1.0 + 1e-7]))
    assert (ends[0], ends[-1], len(ends)) == (1, 2, BINS)
    same = scores > 0
    counts = count_scores(scores, same)
    assert (counts.genuine.sum(), counts.impostors.sum()) == (same.sum(), (~same).sum())
    assert counts.genuine[: BINS // 2].sum() == 0
