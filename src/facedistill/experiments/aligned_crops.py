"""Loose crops made into aligned ones by a network that finds landmarks.

The network looks at the loose crop, the face is warped to the ArcFace template by the similarity
that fits its five points, and the network looks again, now at a face that stands upright. For that
look the template is shifted to the middle of the image, where loose crops have their faces: in
its own place, lower down, networks trained on such crops err more. What it finds there says by how
much the warp misses: the similarity that would bring those points onto the template moves the
template's points by some distance, the *misfit*, which is 0 for a network that agrees with itself.
The second points make a second warp. It is kept where its own misfit, seen by a third look, is
smaller than the first's.

The misfit is used, and not the residual of the similarity fit, because the residual measures pose:
the points of a turned head fit no template, however well they were found.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from facedistill.core.atomic import atomic_folder
from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.landmark_dataset import Square
from facedistill.data.identity_split import IdentitySplit, check_split
from facedistill.data.packing import check_quality, require_room
from facedistill.data.views.aligned_faces import AlignedFaces
from facedistill.evaluation.landmark_locator import Locator, check_locator, infer_landmarks
from facedistill.faces.landmarks import reduce_to_five, to_pixels
from facedistill.runtime.alignment import (
    ARCFACE_SIZE,
    scale_square,
    similarity_transform,
    template,
    transform_points,
    warp,
)
from facedistill.runtime.image_file import JPEG_QUALITY, MAX_PIXELS

MARK = ".aligned"
"""Empty file in a folder of aligned crops, which marks it as replaceable as a whole."""


@dataclass(frozen=True)
class AlignReport:
    """What aligning did.

    Attributes:
        faces: How many.
        second: Of how many the second look was kept.
        misfit: Median misfit of the warps kept, in pixels of a 112-pixel crop.
        misfit_first: The same of the first looks.
    """

    faces: int
    second: int
    misfit: float
    misfit_first: float

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {
            "faces": self.faces,
            "second looks kept": self.second,
            "median misfit, pixels of 112": round(self.misfit, 3),
            "of the first looks": round(self.misfit_first, 3),
        }


def align_faces(
    network: Locator,
    source: FaceDataset,
    size: int = ARCFACE_SIZE,
    *,
    quality: int = JPEG_QUALITY,
    batch_size: int = 64,
    workers: int = 2,
) -> tuple[AlignedFaces, AlignReport]:
    """Find the landmarks of loose crops, and look a second time where that makes them fit better.

    Args:
        network: Finds landmarks, five or a markup that is reduced to five.
        source: Loose crops of any sizes; what is not square is made so by black borders.
        size: Side of the aligned crops.
        quality: JPEG quality of the aligned crops' files.
        batch_size: Images a step.
        workers: How many images are read at a time.

    Raises:
        FacedistillError: If the network finds no landmarks, the size or the quality is none, an
            image is damaged, or the points found in one lie in one place.
    """
    check_locator(network)
    template(size)
    check_quality(quality)
    chosen, kept, fits, fits_first = [], 0, [], []
    looks = infer_landmarks(
        network,
        lambda index: _face(source, index, network.input.size),
        len(source),
        image=lambda face: face.view,
        batch_size=batch_size,
        workers=workers,
        description="aligning",
    )
    for faces, found in looks:
        first = _in_image(faces, reduce_to_five(found))
        images, places = [face.image for face in faces], [face.where for face in faces]
        second, misfit_first = look_again(network, images, first, places)
        # Nothing can be warped by points in one place: the first look must do.
        seen = np.isfinite(misfit_first)
        second = np.where(seen[:, None, None], second, first)
        _, misfit_second = look_again(network, images, second, places)
        better = misfit_second < misfit_first
        chosen.append(np.where(better[:, None, None], second, first))
        kept += int((better & seen).sum())
        fits.append(np.where(better, misfit_second, misfit_first))
        fits_first.append(misfit_first)
    report = AlignReport(
        len(source),
        kept,
        float(np.median(np.concatenate(fits))),
        float(np.median(np.concatenate(fits_first))),
    )
    return AlignedFaces(source, np.concatenate(chosen), size, quality), report


def write_crops(faces: FaceDataset, out: str | Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Write every face as a JPEG file, a folder per identity where identities are known.

    Files of an image folder keep their names, so that lists of them stay true. The folder appears,
    whole, when all crops are written; an earlier set stays until then.

    Args:
        faces: Data set whose files are JPEG, as those of `AlignedFaces` are.
        out: Folder to write.
        overwrite: Replace an earlier set of crops.

    Returns:
        JSON-ready: path, images.

    Raises:
        FacedistillError: If the folder holds something else, or the disk refuses.
    """
    out = Path(out)
    require_crops_only(out, overwrite)
    with atomic_folder(out) as root:
        for index in track(range(len(faces)), f"writing {out.name}", len(faces), "images"):
            path = root / f"{faces.copy_name(index)}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(faces.encoded(index))
        (root / MARK).touch()
        os.sync()  # Once for all, before the folder takes its place.
    return {"path": str(out), "images": len(faces)}


def require_crops_only(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something; with `overwrite` one that holds no crops of ours.

    Raises:
        FacedistillError: If it is such a folder.
    """
    require_room(out, overwrite)
    if not out.exists() or (out / MARK).is_file() or (out.is_dir() and not any(out.iterdir())):
        return
    raise FacedistillError(
        f"{out} was not written by `facedistill prepare` with --detect or --align, so nothing "
        "there is overwritten: give another folder"
    )


def check_place(
    source: FaceDataset, out: Path, split: IdentitySplit | None, as_records: bool, overwrite: bool
) -> None:
    """Refuse a folder that crops cannot be written to, before the first is made.

    Args:
        source: What the crops are made of.
        out: The folder.
        split: Which identities the test set gets, where two sets are written.
        as_records: Whether RecordIO is written.
        overwrite: Whether what the same command wrote there before is replaced.

    Raises:
        FacedistillError: See `check_split`, `require_room` and `require_crops_only`.
    """
    if split is not None:
        check_split(source, out, split, overwrite)
    elif as_records:
        require_room(out, overwrite)
    else:
        require_crops_only(out, overwrite)


def check_names(source: FaceDataset) -> None:
    """Refuse images whose crops would have one name.

    Raises:
        FacedistillError: Naming two of them.
    """
    seen: dict[str, int] = {}
    for index in range(len(source)):
        first = seen.setdefault(source.copy_name(index), index)
        if first != index:
            raise FacedistillError(
                f"{source.where(first)} and {source.where(index)} would become one crop, "
                f"{source.copy_name(index)}.jpg: rename one"
            )


@dataclass(frozen=True)
class _Face:
    """A loose crop.

    Attributes:
        image: As it is.
        where: Its place, for messages.
        square: The smallest square that holds it.
        view: That square at the network's size.
    """

    image: np.ndarray
    where: str
    square: Square
    view: np.ndarray


def _face(source: FaceDataset, index: int, side: int) -> _Face:
    image, where = source[index].image, source.where(index)
    square = _square(image, where)
    return _Face(image, where, square, scale_square(square.cut(image), side))


def _in_image(faces: Sequence[_Face], found: np.ndarray) -> np.ndarray:
    """Return landmarks found in the views, (N, 5, 2), in pixels of the images."""
    return np.stack(
        [
            to_pixels(points, (face.square.side, face.square.side))
            + np.array([face.square.left, face.square.top])
            for face, points in zip(faces, found, strict=True)
        ]
    )


def look_again(
    network: Locator,
    images: Sequence[np.ndarray],
    landmarks: np.ndarray,
    places: Sequence[str],
) -> tuple[np.ndarray, np.ndarray]:
    """Look at faces upright, as their landmarks say.

    Args:
        network: Finds landmarks.
        images: uint8 RGB (H, W, 3) each, of any size.
        landmarks: (N, 5, 2), in their pixels.
        places: Where each is, for messages.

    Returns:
        Landmarks (N, 5, 2) found in the aligned crops, in the images' pixels, and the misfits (N,).

    Raises:
        FacedistillError: If the landmarks of one lie in one place.
    """
    side = network.input.size
    goal = template(side) - template(side).mean(axis=0) + (side - 1) / 2
    matrices, views = [], []
    for image, points, where in zip(images, landmarks, places, strict=True):
        try:
            matrices.append(similarity_transform(points, goal))
            views.append(warp(image, points, side, goal))
        except FacedistillError as error:
            raise FacedistillError(
                f"{where}: no face can be aligned there, {error}: remove the image, or take a "
                "better landmark network"
            ) from None
    found = np.stack([to_pixels(points, (side, side)) for points in _locate(network, views)])
    back = np.stack([cv2.invertAffineTransform(matrix) for matrix in matrices])
    return transform_points(found, back), _misfit(found, goal) * ARCFACE_SIZE / side


def _misfit(found: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return how far the similarity that found points ask for would move the template, (N,)."""
    misses = np.full(len(found), np.inf)
    for place, points in enumerate(found):
        try:
            moved = transform_points(goal, similarity_transform(points, goal))
        except FacedistillError:
            continue  # Points in one place: the worst there is.
        misses[place] = np.sqrt(((moved - goal) ** 2).sum(axis=1).mean())
    return misses


def _locate(network: Locator, views: Sequence[np.ndarray]) -> np.ndarray:
    return reduce_to_five(network.locate(np.stack(views)).cpu().numpy())


def _square(image: np.ndarray, where: str) -> Square:
    """Return the smallest square that holds an image, with the image in its middle."""
    height, width = image.shape[:2]
    side = max(height, width)
    if side * side > MAX_PIXELS:
        raise FacedistillError(
            f"{where}: a square about {width} x {height} pixels has more than {MAX_PIXELS:,}: "
            "give loose crops of faces"
        )
    return Square(-((side - width) // 2), -((side - height) // 2), side)
