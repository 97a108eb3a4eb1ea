import pytest
import torch

from facedistill.distill.objectives.cross_architecture.map_similarity import correlation, map_cosine


def test_maps_are_compared_on_the_coarser_grid():
    one = torch.zeros(2, 3, 2, 2)
    one[..., 0, 0] = 0.5
    other = one.clone()
    other[0, 1] = torch.tensor([[0.0, 0.5], [0.0, 0.0]])
    assert map_cosine(one, 2 * one).tolist() == pytest.approx([1, 1, 1])
    assert map_cosine(one, other).tolist() == pytest.approx([1, 0.5, 1])
    # Less their means, two single places of four have a cosine of -1/3.
    assert float(correlation(one, other)) == pytest.approx((5 - 1 / 3) / 6)
    finer = one.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert map_cosine(one, finer).tolist() == pytest.approx([1, 1, 1])
    assert float(correlation(one, torch.ones(2, 3, 3, 3))) == pytest.approx(0, abs=1e-6)
