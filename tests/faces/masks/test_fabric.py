import numpy as np

from facedistill.faces.masks.fabric import print_share


def test_print_repeats_after_its_period():
    x, y = np.meshgrid(np.arange(40, dtype=np.float32), np.arange(40, dtype=np.float32))
    for texture in ("stripes", "dots", "plaid"):
        here = print_share(texture, x, y, 10.0, 0.0, 0.2)
        there = print_share(texture, x + 10, y, 10.0, 0.0, 0.2)
        np.testing.assert_allclose(here, there, atol=1e-3)
        assert 0 <= here.min() < 0.3
        assert 0.7 < here.max() <= 1
