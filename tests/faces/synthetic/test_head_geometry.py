import numpy as np

from facedistill.faces.synthetic.head_geometry import Features
from facedistill.faces.synthetic.nuisance import Nuisance
from facedistill.faces.synthetic.rendering import render
from tests.faces.synthetic.head import SYMMETRIC


def test_a_smile_widens_the_mouth_and_lifts_its_corners():
    plain, smiling = (Features.of(SYMMETRIC, Nuisance(smile=smile)) for smile in (0.0, 1.0))
    assert np.ptp(smiling.landmarks[3:, 0]) > 1.1 * np.ptp(plain.landmarks[3:, 0])
    assert np.all(smiling.landmarks[3:, 1] < plain.landmarks[3:, 1] - 0.03)
    eyes, mouth = (
        render(SYMMETRIC, Nuisance(smile=1.0))[1][part] for part in (np.s_[:2], np.s_[3:])
    )
    plain_eyes, plain_mouth = (
        render(SYMMETRIC, Nuisance())[1][part] for part in (np.s_[:2], np.s_[3:])
    )
    assert np.ptp(mouth[:, 0]) / np.ptp(eyes[:, 0]) > np.ptp(plain_mouth[:, 0]) / np.ptp(
        plain_eyes[:, 0]
    )
