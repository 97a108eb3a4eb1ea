"""Random landmarks, and their measurement with options as keyword arguments."""

import numpy as np

from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.landmark_localisation import LandmarkProtocol


def faces(count=40, points=5, seed=0, spread=0.02):
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 0.8, (count, points, 2))
    return truth + rng.normal(0, spread, truth.shape), truth


def evaluate_landmarks(network, faces, **settings):
    return LandmarkProtocol(faces).evaluate(network, EvaluationOptions(**settings))
