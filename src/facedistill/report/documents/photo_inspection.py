"""What faces are in these photographs? A sample of them, as a detector sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.views.selection import evenly_spread
from facedistill.data.views.upright import Upright
from facedistill.report.sheet import contact_sheet, save_sheet
from facedistill.runtime.alignment import warp
from facedistill.runtime.detection import Detector, largest_face

SAMPLE = 64
"""Photographs that are looked at, evenly spread."""
_TILE = 112


def describe_photos(
    dataset: FaceDataset, detector: Detector, sheet: Path | None = None
) -> dict[str, Any]:
    """Describe the faces of a sample of photographs.

    Args:
        dataset: The photographs; they are turned as their EXIF tags ask.
        detector: Finds faces.
        sheet: Where to write a sheet of the aligned faces.

    Returns:
        JSON-ready facts by name.

    Raises:
        FacedistillError: If there is no face for a sheet.
    """
    photos = Upright(dataset)
    places = evenly_spread(len(photos), SAMPLE).tolist()
    faces, tiles, names, counts, unread = [], [], [], [], 0
    for index in track(places, "finding faces", len(places), "photos"):
        try:
            photo = photos[index].image
        except FacedistillError:
            unread += 1
            continue
        face, count = largest_face(photo, detector)
        counts.append(count)
        if face is not None:
            faces.append(face)
            tiles.append(warp(photo, face.landmarks, _TILE))
            names.append(Path(photos.copy_name(index)).name)
    numbers = np.array(counts, np.int64)
    description: dict[str, Any] = {
        "name": dataset.name,
        "kind": f"photos ({dataset.kind or type(dataset).__name__})",
        "images": len(dataset),
        "identities": len(np.unique(dataset.labels[dataset.labels >= 0])),
        "looked at": len(places),
        "with one face": int((numbers == 1).sum()),
        "with several": int((numbers > 1).sum()),
        "without a face": int((numbers == 0).sum()),
        "that do not decode": unread,
    }
    if faces:
        sizes, scores = [face.size for face in faces], [face.score for face in faces]
        turned = np.abs([face.yaw for face in faces])
        description |= {
            "largest face, median pixels": round(float(np.median(sizes))),
            "its score, median": round(float(np.median(scores)), 3),
            "turned by more than 45 degrees": int((turned > 45).sum()),
        }
    if sheet is not None:
        if not tiles:
            raise FacedistillError(f"{dataset.name}: no face is found, so there is no sheet")
        save_sheet(sheet, contact_sheet(tiles, labels=names, title=dataset.name))
        description["sheet"] = str(sheet)
    return description
