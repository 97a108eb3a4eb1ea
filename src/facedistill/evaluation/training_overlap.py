"""Whether a network is measured on faces that it was trained on.

A model file keeps marks of its training set: the keys, hashes of the encoded bytes, of some images
evenly spread through it. A set that holds a part of the training set holds that part of the marked
images. Images that were resized or compressed anew since have other keys, and are not known again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from facedistill.data.dataset import FaceDataset
from facedistill.data.views.selection import evenly_spread
from facedistill.models.face_network import FaceNetwork
from facedistill.models.files.model_metadata import TrainingSet

_MARKED = 256
"""Images of a training set whose keys a file keeps: 4 KB, and one image in 256 of it shows."""

_BYTES = 8
"""Of each key: among a thousand million images two alike are not to be expected."""


@dataclass(frozen=True)
class TrainingOverlap:
    """How much of a test set is known to be training images of the network measured.

    Attributes:
        network: Its name.
        training_set: Name of the set it was trained on.
        images: About how many training images are in the test set.
        tested: Images of the test set.
    """

    network: str
    training_set: str
    images: int
    tested: int

    def line(self) -> str:
        """Return that as one line of text."""
        return (
            f"figures of TRAINING faces: about {self.images:,} of the {self.tested:,} images are "
            f"of {self.training_set}, on which {self.network} was trained: they say nothing of "
            "other people; measure on identities that were held out (`facedistill prepare --split`)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def mark_training_set(faces: FaceDataset, name: str) -> TrainingSet:
    """Return what a model file keeps of the faces that its network learns from.

    Args:
        faces: The faces.
        name: What to call them, without a path.
    """
    keys = "".join(_mark(faces, int(place)) for place in evenly_spread(len(faces), _MARKED))
    return TrainingSet(name=name, images=len(faces), fingerprint=faces.fingerprint, keys=keys)


def training_overlap(measured: object, tests: Sequence[FaceDataset]) -> TrainingOverlap | None:
    """Look for training images among those that a network is measured on.

    Args:
        measured: The network; others than model files' say nothing of their training.
        tests: What it is measured on.

    Returns:
        The largest overlap; None where there is none, or none is known.
    """
    if not isinstance(measured, FaceNetwork) or not measured.metadata.trained_on:
        return None
    marks = {_mark(faces, place) for faces in tests for place in range(len(faces))}
    tested = sum(map(len, tests))
    found = []
    for each in measured.metadata.trained_on:
        kept = _kept(each)
        if shown := len(kept & marks):
            images = min(max(1, round(shown / len(kept) * each.images)), tested)
            found.append(TrainingOverlap(measured.name, each.name, images, tested))
    return max(found, key=lambda overlap: overlap.images, default=None)


def _mark(faces: FaceDataset, place: int) -> str:
    return faces.key(place)[:_BYTES].hex()


def _kept(training: TrainingSet) -> set[str]:
    step = 2 * _BYTES
    return {training.keys[at : at + step] for at in range(0, len(training.keys), step)}
