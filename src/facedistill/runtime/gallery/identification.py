"""Who is on photographs? Each face, its candidates, and a decision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.gallery.fpir_threshold import SearchThreshold
from facedistill.runtime.gallery.gallery import Candidate, Gallery
from facedistill.runtime.photo_faces import PhotoReader


@dataclass(frozen=True)
class IdentifiedFace:
    """A face and whom it resembles.

    Attributes:
        photo: The photograph.
        place: (left, top, width, height) of the face in it; None of an aligned crop.
        candidates: The most similar identities, the most similar first.
        threshold: What the first must reach; None where none is known.
    """

    photo: Path
    place: tuple[float, float, float, float] | None
    candidates: list[Candidate]
    threshold: SearchThreshold | None

    @property
    def name(self) -> str | None:
        """The identity; None where nobody reaches the threshold, or none is known."""
        if not self.candidates or self.threshold is None:
            return None
        first = self.candidates[0]
        return first.name if first.cosine >= self.threshold.cosine else None

    def line(self) -> str:
        """Return photo, decision and cosines as one line."""
        where = str(self.photo)
        if self.place is not None:
            left, top, width, height = (round(each) for each in self.place)
            where += f" ({width}x{height} at {left},{top})"
        named = ", ".join(f"{each.name} {each.cosine:.3f}" for each in self.candidates)
        if self.threshold is None:
            return f"{where}: most similar {named}"
        limit = f"threshold {self.threshold.cosine:.3f}"
        if self.name is None:
            return f"{where}: not in the gallery; most similar {named}; {limit}"
        return f"{where}: {self.name}; {named}; {limit}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "photo": str(self.photo),
            "place": None if self.place is None else [round(each, 1) for each in self.place],
            "identity": self.name,
            "candidates": [
                {"identity": each.name, "cosine": each.cosine} for each in self.candidates
            ],
            "threshold": None if self.threshold is None else self.threshold.cosine,
            "threshold_from": None if self.threshold is None else self.threshold.source,
        }


def identify_photo(
    gallery: Gallery,
    path: Path,
    reader: PhotoReader,
    threshold: SearchThreshold | None,
    count: int = 3,
) -> tuple[list[IdentifiedFace], list[str]]:
    """Identify all faces of a photograph.

    Args:
        gallery: Where they are looked for.
        path: The photograph.
        reader: Finds and judges faces.
        threshold: What a candidate must reach.
        count: How many candidates each face is given.

    Returns:
        The faces, the largest first, and why others were left out, a line for each.

    Raises:
        FacedistillError: If the gallery is empty.
    """
    if not len(gallery):
        raise FacedistillError(
            f"{gallery.file.path} is empty: `facedistill enrol PHOTOS --gallery "
            f"{gallery.file.path} --model {gallery.recogniser.engine.path}` fills it"
        )
    read = reader.read(path)
    if not read.faces:
        return [], read.faults
    embeddings = gallery.recogniser.embed(np.stack([face.crop for face in read.faces]))
    found = gallery.identify(embeddings, count)
    faces = [
        IdentifiedFace(path, face.place, candidates, threshold)
        for face, candidates in zip(read.faces, found, strict=True)
    ]
    return faces, read.faults
