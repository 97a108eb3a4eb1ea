"""Photographs of nobody knows whom, sorted into a folder for each identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.core.atomic import atomic_folder
from facedistill.core.errors import FacedistillError
from facedistill.runtime.gallery.clustering import cluster_faces
from facedistill.runtime.gallery.fpir_threshold import SearchThreshold, search_threshold
from facedistill.runtime.image_file import encode_png
from facedistill.runtime.photo_faces import PhotoReader
from facedistill.runtime.recogniser import Recogniser

LINKAGE_FPIR = 0.9
"""FPIR of a search among as many faces, at whose threshold clusters are joined.

Means of many cosines scatter far less than single cosines, so that a rate far too high for a single
face is right for clusters: `benchmarks/clustering.py` has the figures.
"""

_FEWEST = 100
"""Faces below which the threshold stays: among a handful that rate lets nearly any two pass."""

_SMALLEST_NUMBER = 3
"""Digits of a folder's name."""


@dataclass(frozen=True)
class PhotoClusters:
    """What came of photographs.

    Attributes:
        faces: How many faces were found.
        sizes: Faces of each cluster, the largest first.
        threshold: Least mean cosine by which clusters were joined.
        refused: Photographs in which no face was taken.
    """

    faces: int
    sizes: list[int]
    threshold: SearchThreshold
    refused: int


def cluster_photos(
    paths: Iterable[Path],
    out: Path,
    recogniser: Recogniser,
    reader: PhotoReader,
    warn: Callable[[str], None],
    *,
    threshold: float | None = None,
) -> PhotoClusters:
    """Write the aligned crops of all faces into a folder for each cluster.

    Args:
        paths: The photographs.
        out: A folder; it takes its place when all is done. Crops are called like their photographs.
        recogniser: The network.
        reader: Finds and judges faces.
        warn: Takes a line for each photograph of which no face is taken.
        threshold: Least mean cosine that joins two clusters; by default that of a search among as
            many faces, or 100 where there are fewer, at `LINKAGE_FPIR`.

    Raises:
        FacedistillError: If no face is found, or no threshold is known.
    """
    crops: list[np.ndarray] = []
    names: list[str] = []
    embeddings: list[np.ndarray] = []
    refused = 0
    for path in paths:
        read = reader.read(path)
        if not read.faces:
            refused += 1
            warn(f"left out: {'; '.join(read.faults)}")
            continue
        own = np.stack([face.crop for face in read.faces])
        embeddings.append(recogniser.embed(own))
        crops += list(own)
        names += [f"{path.stem}-{number}" for number in range(1, len(own) + 1)]
    if not crops:
        raise FacedistillError("no face is found in any of the photos: there is nothing to cluster")
    limit = _limit(recogniser, len(crops), threshold)
    clusters = cluster_faces(np.concatenate(embeddings), limit.cosine)
    sizes = np.bincount(clusters).tolist()
    with atomic_folder(out) as folder:
        digits = max(_SMALLEST_NUMBER, len(str(len(sizes))))
        for number, (cluster, name, crop) in enumerate(zip(clusters, names, crops, strict=True)):
            home = folder / f"{int(cluster) + 1:0{digits}}"
            home.mkdir(exist_ok=True)
            place = home / f"{name}.png"
            if place.exists():  # Photographs of one name in several folders.
                place = home / f"{name}-{number}.png"
            place.write_bytes(encode_png(crop))
    return PhotoClusters(len(crops), sizes, limit, refused)


def _limit(recogniser: Recogniser, faces: int, threshold: float | None) -> SearchThreshold:
    if threshold is not None:
        return SearchThreshold.given(threshold)
    limit = search_threshold(recogniser.thresholds, max(faces, _FEWEST), LINKAGE_FPIR)
    if limit is None:
        path = recogniser.engine.path
        raise FacedistillError(
            f"{path} has no thresholds: give --threshold, or measure them with `facedistill "
            f"evaluate {path} PAIRS --save-thresholds`"
        )
    return limit
