"""How well a teacher tells the labels of its bank apart: what a student can hope for."""

from __future__ import annotations

from dataclasses import replace

from facedistill.data.dataset import FaceDataset
from facedistill.data.pairs.pair_drawing import DEFAULT_PAIRS, most_pairs
from facedistill.data.pairs.pair_set import PairSet
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.format import StoredAccuracy, write_info
from facedistill.evaluation.options import EvaluationOptions
from facedistill.evaluation.protocols.pair_report import PairReport
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.evaluation.stored_embeddings import of_bank

SEED = 0
"""Of the pairs: two teachers of one data set are measured on the same."""

_FEWEST_PAIRS = 40
"""Below, an accuracy says nothing."""


def measure_teacher(bank: Bank, faces: FaceDataset) -> StoredAccuracy | None:
    """Measure a bank on pairs drawn of its labels, and keep the figure in the bank.

    Args:
        bank: Finished.
        faces: What it was made of.

    Returns:
        The accuracy; None where the labels give hardly any pairs.
    """
    pairs = min(DEFAULT_PAIRS, most_pairs(faces.labels))
    if pairs < _FEWEST_PAIRS:
        return None
    drawn = PairSet.from_dataset(faces, pairs, SEED)
    stored = of_bank(bank, drawn.faces)
    report = PairProtocol(drawn).evaluate(stored, EvaluationOptions())
    assert isinstance(report, PairReport)
    accuracy = StoredAccuracy(report.result.estimate, pairs)
    bank.info = replace(bank.info, accuracy=accuracy)
    write_info(bank.folder, bank.info)
    return accuracy
