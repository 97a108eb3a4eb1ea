"""Verification of pairs with options as keyword arguments, as tests write it."""

from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.pair_verification import PairProtocol


def evaluate_pairs(embedder, pairset, **settings):
    return PairProtocol(pairset).evaluate(embedder, EvaluationOptions(**settings))
