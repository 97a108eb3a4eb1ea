import numpy as np

from facedistill.faces.masks.mask_cloth import Cloth
from facedistill.faces.masks.mask_parameters import MaskParameters


def test_six_stripes_of_each_colour_follow_each_other_down_the_cloth():
    cloth = Cloth(112, 112, MaskParameters("cloth", "stripes", phase=0.0), None)
    down = cloth.stripes()[:, 56][cloth.cover[:, 56] == 1]
    assert 0 <= down.min() < 0.1
    assert 0.9 < down.max() <= 1
    edges = np.flatnonzero(np.diff(down > 0.5))
    assert len(edges) in (10, 11)  # the outermost stripes may lie on the hem
    assert np.ptp(np.diff(edges)) <= 1
