import numpy as np

from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.rendering import render
from tests.faces.synthetic.head import SYMMETRIC


def test_the_lit_side_is_brighter():
    left = render(SYMMETRIC, Nuisance(light_azimuth=-60.0, light_strength=0.9))[0].astype(float)
    right = render(SYMMETRIC, Nuisance(light_azimuth=60.0, light_strength=0.9))[0].astype(float)
    cheeks = np.s_[62:80, 25:40], np.s_[62:80, 72:87]
    assert left[cheeks[0]].mean() > left[cheeks[1]].mean() + 20
    assert right[cheeks[1]].mean() > right[cheeks[0]].mean() + 20
