import numpy as np
from hypothesis import given, settings

from facedistill.faces.synthetic.traits import draw_identity, trait_ranges
from tests.faces.synthetic.head import seeds


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_traits_stay_in_their_ranges(seed):
    identity = draw_identity(np.random.default_rng(seed))
    for name, (low, high) in trait_ranges().items():
        assert low <= getattr(identity, name) <= high, name


def test_identities_differ_in_every_trait():
    identities = [draw_identity(np.random.default_rng(seed)) for seed in range(200)]
    for name, (low, high) in trait_ranges().items():
        values = np.array([getattr(identity, name) for identity in identities])
        assert values.std() > 0.1 * (high - low), name
        assert len(np.unique(values)) > 15, name
