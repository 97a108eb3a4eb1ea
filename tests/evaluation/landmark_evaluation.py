"""Landmarks measured with options as keyword arguments, as tests write it."""

from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.landmark_localisation import LandmarkProtocol


def evaluate_landmarks(network, faces, **settings):
    return LandmarkProtocol(faces).evaluate(network, EvaluationOptions(**settings))
