"""Who is it? A gallery's identities, open together with the network that embeds them.

from facedistill.runtime import Recogniser
from facedistill.runtime.gallery import Gallery

student = Recogniser.load("student.onnx")
with Gallery.open("people.gallery", student) as gallery:
(candidates,) = gallery.identify(student.embed(faces))  # uint8 RGB (1, 112, 112, 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.gallery.fpir_threshold import FPIR, SearchThreshold, search_threshold
from facedistill.runtime.gallery.gallery_file import GalleryFile, GallerySettings, Template
from facedistill.runtime.gallery.stored_templates import Precision, StoredTemplates
from facedistill.runtime.gallery.template_search import TemplateSearch
from facedistill.runtime.network_fingerprint import network_fingerprint
from facedistill.runtime.recogniser import Recogniser


@dataclass(frozen=True)
class Candidate:
    """An identity that a probe resembles.

    Attributes:
        name: The identity.
        cosine: Similarity with the most similar of its templates.
    """

    name: str
    cosine: float


class Gallery:
    """A gallery's file and its templates in memory; use it in a `with` statement.

    Args:
        file: Open.
        recogniser: The network whose embeddings it has.

    Attributes:
        file: The gallery's.
        recogniser: The network.

    Raises:
        FacedistillError: If the gallery has another network's embeddings.
    """

    def __init__(self, file: GalleryFile, recogniser: Recogniser) -> None:
        self.file, self.recogniser = file, recogniser
        _check_model(file, recogniser)
        names, owners, templates = file.templates()
        self._owners = [names[owner] for owner in owners]
        self._search = TemplateSearch(templates)
        self._most = int(np.bincount(owners).max()) if len(owners) else 0

    @classmethod
    def open(cls, path: str | Path, recogniser: Recogniser) -> Gallery:
        """Open a gallery that is there.

        Raises:
            FacedistillError: If it is none, is damaged, or has another network's embeddings.
        """
        return cls._of(GalleryFile(path), recogniser)

    @classmethod
    def open_or_make(
        cls,
        path: str | Path,
        recogniser: Recogniser,
        *,
        precision: Precision | None = None,
        crops: bool | None = None,
    ) -> Gallery:
        """Open a gallery, or make one where there is none.

        Args:
            path: Its file.
            recogniser: The network.
            precision: In which embeddings are stored; float16 by default.
            crops: Whether aligned crops are kept beside them; not by default.

        Raises:
            FacedistillError: As `open`; or if one that is there is otherwise than asked for.
        """
        new = settings_of(recogniser, precision or "float16", bool(crops))
        file = GalleryFile(path, new)
        for asked, there, what in (
            (precision, file.settings.precision, "--precision"),
            (crops, file.settings.crops, "--keep-crops"),
        ):
            if asked is not None and asked != there:
                file.close()
                raise FacedistillError(
                    f"{path} was made otherwise: leave out {what}, or enrol into a new gallery"
                )
        return cls._of(file, recogniser)

    @classmethod
    def _of(cls, file: GalleryFile, recogniser: Recogniser) -> Gallery:
        try:
            return cls(file, recogniser)
        except BaseException:
            file.close()
            raise

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.close()

    def __len__(self) -> int:
        return len(self._owners)

    def threshold(self, fpir: float = FPIR) -> SearchThreshold | None:
        """Return what a candidate must reach; None where the network's file has no thresholds.

        Args:
            fpir: False positive identification rate: of probes of nobody in the gallery.
        """
        return search_threshold(self.recogniser.thresholds, len(self), fpir)

    def identify(self, embeddings: np.ndarray, count: int = 5) -> list[list[Candidate]]:
        """Return the identities that each probe resembles most, the most similar first.

        Args:
            embeddings: float32 (P, D) of length 1, as `Recogniser.embed` gives them.
            count: How many identities; fewer where the gallery has fewer.

        Raises:
            FacedistillError: If they are no such embeddings.
        """
        # So many templates have `count` identities among them, whosever they are.
        wanted = (count - 1) * max(1, self._most) + 1
        numbers, cosines = self._search.nearest(embeddings, wanted)
        return [
            _best_by_identity([self._owners[number] for number in row], scores.tolist(), count)
            for row, scores in zip(numbers.tolist(), cosines, strict=True)
        ]

    def most_similar_other(self, embedding: np.ndarray, name: str) -> Candidate | None:
        """Return the identity but `name` that an embedding (D,) resembles most."""
        for candidate in self.identify(embedding[None], 2)[0]:
            if candidate.name != name:
                return candidate
        return None

    def add(self, name: str, templates: Sequence[Template]) -> None:
        """Enrol templates of an identity: all of them, on disk when this returns, or none.

        Raises:
            FacedistillError: If the name cannot be one, or the operating system refuses.
        """
        self.file.add(name, templates)
        rows = np.stack([each.embedding for each in templates])
        self._search.add(StoredTemplates.of(rows, self.file.settings.precision))
        self._owners += [name] * len(templates)
        self._most = max(self._most, self._owners.count(name))


def settings_of(
    recogniser: Recogniser, precision: Precision = "float16", crops: bool = False
) -> GallerySettings:
    """Return the settings of a gallery of a network."""
    engine = recogniser.engine
    return GallerySettings(
        model=network_fingerprint(engine.path, engine.input.spec),
        model_name=str(engine.metadata.get("name", engine.path.name)),
        dimension=int(engine.metadata["embedding_size"]),
        precision=precision,
        crops=crops,
    )


def _check_model(file: GalleryFile, recogniser: Recogniser) -> None:
    path, settings = recogniser.engine.path, file.settings
    if settings_of(recogniser).model == settings.model:
        return
    remedy = "enrol into another gallery"
    if settings.crops:
        remedy = f"`facedistill gallery reembed {file.path} --model {path}` embeds its crops anew"
    raise FacedistillError(
        f"{file.path} has embeddings of another network ({settings.model_name}) than {path}: give "
        f"that one; or {remedy}"
    )


def _best_by_identity(names: list[str], cosines: list[float], count: int) -> list[Candidate]:
    best: dict[str, float] = {}
    for name, cosine in zip(names, cosines, strict=True):
        best.setdefault(name, cosine)
    return [Candidate(*each) for each in list(best.items())[:count]]
