"""A gallery for another network: its crops embedded anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.runtime.alignment import scale_square
from facedistill.runtime.gallery.gallery import settings_of
from facedistill.runtime.gallery.gallery_file import GalleryFile
from facedistill.runtime.image_file import decode_image
from facedistill.runtime.recogniser import Recogniser

Crop = tuple[int, "bytes | None"]


def reembed(
    path: str | Path,
    recogniser: Recogniser,
    watch: Callable[[Iterable[Crop], int], Iterable[Crop]] = lambda crops, count: crops,
) -> int:
    """Put a network's embeddings of the kept crops in the place of all embeddings, or of none.

    Args:
        path: The gallery.
        recogniser: The network.
        watch: Shows the progress over so many crops.

    Returns:
        The number of templates.

    Raises:
        FacedistillError: If the gallery keeps no crops, or one is damaged.
    """
    with GalleryFile(path) as file:
        if not file.settings.crops:
            raise FacedistillError(
                f"{path} keeps no crops that could be embedded anew: enrol its photos into a new "
                "gallery, with --keep-crops if it is to change networks later"
            )
        embeddings: dict[int, np.ndarray] = {}
        count = sum(each.templates for each in file.identities())
        for number, encoded in watch(file.crops(), count):
            if encoded is None:
                raise FacedistillError(f"{path} is damaged: template {number} has no crop")
            crop = decode_image(encoded, f"{path}, crop of template {number}")
            if crop.shape[0] != crop.shape[1]:
                raise FacedistillError(
                    f"{path} is damaged: crop of template {number} is not square"
                )
            if len(crop) != recogniser.size:
                crop = scale_square(crop, recogniser.size)
            embeddings[number] = recogniser.embed(crop[None])[0]
        new = settings_of(recogniser, file.settings.precision, crops=True)
        file.replace(new, embeddings)
        return count
