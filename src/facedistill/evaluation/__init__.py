"""Networks measured: protocols, metrics, statistics. `evaluate.evaluate` is the door to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facedistill.core.lazy_names import lazy_names

if TYPE_CHECKING:
    from facedistill.evaluation.evaluate import Evaluation, open_protocol
    from facedistill.evaluation.options import EvaluationOptions
    from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol
    from facedistill.evaluation.protocols.base import Embedder, Protocol
    from facedistill.evaluation.protocols.distractors import DistractorProtocol
    from facedistill.evaluation.protocols.ijb_templates import IjbProtocol
    from facedistill.evaluation.protocols.landmark_localisation import LandmarkProtocol
    from facedistill.evaluation.protocols.pair_verification import PairProtocol
    from facedistill.evaluation.report import Report
    from facedistill.evaluation.stored_embeddings import StoredEmbeddings, open_stored

_MODULES = {
    "AllPairsProtocol": "protocols.all_pairs",
    "DistractorProtocol": "protocols.distractors",
    "Embedder": "protocols.base",
    "Evaluation": "evaluate",
    "EvaluationOptions": "options",
    "IjbProtocol": "protocols.ijb_templates",
    "LandmarkProtocol": "protocols.landmark_localisation",
    "PairProtocol": "protocols.pair_verification",
    "Protocol": "protocols.base",
    "Report": "report",
    "StoredEmbeddings": "stored_embeddings",
    "open_protocol": "evaluate",
    "open_stored": "stored_embeddings",
}

__all__ = [
    "AllPairsProtocol",
    "DistractorProtocol",
    "Embedder",
    "Evaluation",
    "EvaluationOptions",
    "IjbProtocol",
    "LandmarkProtocol",
    "PairProtocol",
    "Protocol",
    "Report",
    "StoredEmbeddings",
    "open_protocol",
    "open_stored",
]

__getattr__ = lazy_names(__name__, _MODULES)
