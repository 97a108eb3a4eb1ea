"""Protocols measured on photographs: the face of each is found and aligned when it is read."""

from __future__ import annotations

from facedistill.core.errors import FacedistillError
from facedistill.data.pairs.pair_set import PairSet
from facedistill.data.views.detected_faces import DetectedFaces
from facedistill.evaluation.protocols.all_pairs import AllPairsProtocol
from facedistill.evaluation.protocols.base import Protocol
from facedistill.evaluation.protocols.pair_verification import PairProtocol
from facedistill.runtime.detection import Detector


def find_faces(protocol: Protocol, detector: Detector) -> DetectedFaces:
    """Let a protocol see the aligned crop of each photograph's largest face.

    Args:
        protocol: Pairs, or all pairs of a labelled data set, of photographs.
        detector: Finds faces.

    Returns:
        What the protocol now reads, which knows afterwards in which photographs no face was found.

    Raises:
        FacedistillError: If the protocol is another.
    """
    if type(protocol) is PairProtocol and isinstance(protocol.pairset, PairSet):
        protocol.pairset.faces = DetectedFaces(protocol.pairset.faces, detector)
        return protocol.pairset.faces
    if type(protocol) is AllPairsProtocol:
        protocol.faces = DetectedFaces(protocol.faces, detector)
        return protocol.faces
    raise FacedistillError(f"{protocol.name}: not for {protocol.kind}: --detect; leave that out")
