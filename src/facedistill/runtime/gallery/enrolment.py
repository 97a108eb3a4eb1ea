"""Photographs into a gallery: found, judged, embedded, doubted, enrolled identity by identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.runtime.gallery.gallery import Gallery
from facedistill.runtime.gallery.gallery_file import Template, check_name
from facedistill.runtime.image_file import encode_png
from facedistill.runtime.photo_faces import PhotoFace, PhotoReader


@dataclass
class Enrolment:
    """What came of photographs.

    Attributes:
        identities: How many have new templates.
        templates: How many new templates there are.
        there: Photographs that were enrolled already.
        refused: Photographs of which no template was made.
        empty: Names of identities of whom nothing is in the gallery.
    """

    identities: int = 0
    templates: int = 0
    there: int = 0
    refused: int = 0
    empty: tuple[str, ...] = ()


def enrol_photos(
    gallery: Gallery,
    photos: Iterable[tuple[str, list[Path]]],
    reader: PhotoReader,
    warn: Callable[[str], None],
) -> Enrolment:
    """Enrol the largest face of each photograph; each identity is enrolled whole.

    Args:
        gallery: Where to.
        photos: Identities and their photographs.
        reader: Finds and judges faces.
        warn: Takes a line for each photograph that is not enrolled, has several faces, or shows a
            face that resembles another identity, or not the identity's own.

    Raises:
        FacedistillError: If a name cannot be one, or the gallery cannot be written.
    """
    done = Enrolment()
    for name, paths in photos:
        check_name(name)
        known = gallery.file.photos_of(name)
        faces: dict[bytes, PhotoFace] = {}
        where: dict[bytes, Path] = {}
        for path in paths:
            read = reader.read(path)
            if read.digest in known or read.digest in faces:
                done.there += 1
                continue
            if not read.faces:
                done.refused += 1
                warn(f"not enrolled as {name}: {'; '.join(read.faults)}")
                continue
            if len(read.faces) > 1:
                warn(f"{path} has {len(read.faces)} faces: the largest is enrolled as {name}")
            faces[read.digest], where[read.digest] = read.faces[0], path
        if not faces:
            if not known:
                done.empty = (*done.empty, name)
            continue
        crops = np.stack([face.crop for face in faces.values()])
        embeddings = gallery.recogniser.embed(crops)
        _doubt(gallery, name, embeddings, list(where.values()), warn)
        gallery.add(
            name,
            [
                Template(
                    digest,
                    embedding,
                    encode_png(face.crop) if gallery.file.settings.crops else None,
                )
                for (digest, face), embedding in zip(faces.items(), embeddings, strict=True)
            ],
        )
        done.identities += 1
        done.templates += len(faces)
    return done


def _doubt(
    gallery: Gallery,
    name: str,
    embeddings: np.ndarray,
    paths: list[Path],
    warn: Callable[[str], None],
) -> None:
    """Warn of faces that resemble another identity, or no other of their own."""
    threshold = gallery.threshold()
    if threshold is not None:
        for embedding, path in zip(embeddings, paths, strict=True):
            other = gallery.most_similar_other(embedding, name)
            if other is not None and other.cosine >= threshold.cosine:
                warn(
                    f"{path}, enrolled as {name}, resembles {other.name} (cosine "
                    f"{other.cosine:.2f}, threshold {threshold.cosine:.2f}): is it one identity "
                    "under two names?"
                )
    if len(paths) < 3 or not gallery.recogniser.thresholds:
        return
    loosest = min(gallery.recogniser.thresholds.values())
    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -1)
    for cosine, path in zip(cosines.max(axis=1).tolist(), paths, strict=True):
        if cosine < loosest:
            warn(
                f"{path}, enrolled as {name}, resembles none of the other photos of {name} "
                f"(highest cosine {cosine:.2f}): is it someone else's?"
            )
