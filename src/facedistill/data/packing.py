"""Any data set into one RecordIO folder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from facedistill.data.decode import decode_image, encode_jpeg, image_size
from facedistill.data.labels import check_labels
from facedistill.data.recordio_writer import RecordIOWriter
from facedistill.data.sample import FaceDataset
from facedistill.errors import FacedistillError
from facedistill.progress import track


class PackSummary(NamedTuple):
    """What was packed.

    Attributes:
        path: The `.rec` file.
        images: How many images.
        identities: How many identities; 0 where unlabelled.
        reencoded: How many images were encoded anew; the others kept their bytes.
        size: (height, width) of all images.
        bytes: Size of the `.rec` file.
    """

    path: Path
    images: int
    identities: int
    reencoded: int
    size: tuple[int, int]
    bytes: int


def pack(
    source: FaceDataset,
    out: str | Path,
    *,
    size: int | None = None,
    quality: int = 95,
    reencode: bool = False,
    overwrite: bool = False,
) -> PackSummary:
    """Write a data set as `train.rec`, `train.idx`, `property` and checksums.

    Every image is decoded once, so that a damaged one stops the packing rather than a training
    run. Images keep their bytes, hence their keys and quality, unless they are resized or
    `reencode` is given. Records are sorted by identity.

    Args:
        source: What to pack.
        out: The folder to write; created if missing.
        size: Resize images to `size` x `size` pixels where they differ; by default all must share
            one size already.
        quality: JPEG quality 1 to 100 of images encoded anew.
        reencode: Encode every image anew.
        overwrite: Replace a data set that is in `out`.

    Returns:
        Counts.

    Raises:
        FacedistillError: If `out` holds something, sizes differ, an image is damaged or the disk
            refuses. Nothing is left half-written.
    """
    out = Path(out)
    if not 1 <= quality <= 100:
        raise FacedistillError(f"quality {quality}: JPEG quality is 1 to 100")
    if out.exists() and not overwrite and (not out.is_dir() or any(out.iterdir())):
        raise FacedistillError(f"{out} is not empty; give another folder, or --overwrite")
    identities = check_labels(source.labels, source.name)
    order = np.argsort(source.labels, kind="stable").tolist()
    first = source.where(order[0])
    shape = (size, size) if size else image_size(source.encoded(order[0]), first)
    reencoded = 0
    with RecordIOWriter(out, size=shape) as writer:
        for index in track(order, f"packing {out.name}", len(order), "images"):
            encoded, where = source.encoded(index), source.where(index)
            image = decode_image(encoded, where)
            differs = image.shape[:2] != shape
            if differs and not size:
                raise FacedistillError(_differs(where, image.shape, first, shape))
            if differs:
                image = _resize(image, shape[0], where)
            if differs or reencode:
                encoded = encode_jpeg(image, quality)
                reencoded += 1
            writer.write(encoded, source.labels.item(index))
    return PackSummary(
        writer.path, len(order), identities, reencoded, shape, writer.path.stat().st_size
    )


def _resize(image: np.ndarray, size: int, where: str) -> np.ndarray:
    height, width = image.shape[:2]
    if height != width:
        raise FacedistillError(
            f"{where}: {width} x {height} pixels cannot become {size} x {size} without distortion; "
            "align the faces with `facedistill prepare`"
        )
    method = cv2.INTER_AREA if size < height else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=method)


def _differs(where: str, shape: tuple[int, ...], first: str, expected: tuple[int, int]) -> str:
    return (
        f"{where}: {shape[1]} x {shape[0]} pixels, but {first} has {expected[1]} x {expected[0]}; "
        "give --size to resize, or align the faces with `facedistill prepare`"
    )
