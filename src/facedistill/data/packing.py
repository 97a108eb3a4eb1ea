"""Any data set into one RecordIO folder."""

from __future__ import annotations

import warnings
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.landmark_dataset import LandmarkDataset
from facedistill.data.formats.recordio_writer import RecordIOWriter
from facedistill.data.labels import check_labels, warn_of_one_identity
from facedistill.data.loading.reading import read_in_order
from facedistill.runtime.alignment import scale_square
from facedistill.runtime.image_file import JPEG_QUALITY, decode_image, encode_jpeg, header_of
from facedistill.runtime.image_header import ImageHeader


def pack(
    source: FaceDataset,
    out: str | Path,
    *,
    size: int | None = None,
    quality: int = JPEG_QUALITY,
    reencode: bool = False,
    overwrite: bool = False,
    workers: int = 0,
) -> dict[str, Any]:
    """Write a data set as `train.rec`, `train.idx`, `property` and checksums.

    Every image is decoded once, so that a damaged one stops the packing rather than a training
    run. Images keep their bytes, hence their keys and quality, unless they are resized, their
    EXIF orientation says that they are to be turned, or `reencode` is given. Records are sorted by
    identity.

    Args:
        source: What to pack.
        out: The folder to write; created if missing.
        size: Resize images to `size` x `size` pixels where they differ; by default all must share
            one size already.
        quality: JPEG quality 1 to 100 of images encoded anew.
        reencode: Encode every image anew.
        overwrite: Replace a data set that is in `out`.
        workers: Processes that read, draw and encode; 0 does it in this one. The files are the
            same.

    Returns:
        JSON-ready: path (of the `.rec` file), images, identities (0 where unlabelled), reencoded
        (images that did not keep their bytes), turned (by their EXIF orientation), size ("WxH") and
        bytes (of the `.rec` file).

    Raises:
        FacedistillError: If `out` holds something, sizes differ, an image is damaged or the disk
            refuses. Nothing is left half-written.
    """
    out = Path(out)
    check_quality(quality)
    warn_of_landmarks(source)
    require_room(out, overwrite)
    identities = check_labels(source.labels, source.name)
    warn_of_one_identity(source.labels, source.name)
    order = np.argsort(source.labels, kind="stable").tolist()
    first = source.where(order[0])
    shape = (size, size) if size else _upright_size(header_of(source.encoded(order[0]), first))
    fit = _Fit(source, shape, first, size is not None, quality, reencode)
    reencoded = turned = 0
    with (
        closing(read_in_order(fit, order, workers)) as images,
        RecordIOWriter(out, size=shape) as writer,
    ):
        todo = zip(order, images, strict=True)
        for index, image in track(todo, f"packing {out.name}", len(order), "images"):
            if isinstance(image, FacedistillError):
                raise image
            writer.write(image.encoded, source.labels.item(index), source.file_name(index))
            reencoded += image.reencoded
            turned += image.turned
    return {
        "path": str(writer.path),
        "images": len(order),
        "identities": identities,
        "reencoded": reencoded,
        "turned": turned,
        "size": f"{shape[1]}x{shape[0]}",
        "bytes": writer.path.stat().st_size,
    }


def warn_of_landmarks(source: FaceDataset) -> None:
    """Warn where a data set has landmarks, for which RecordIO has no place."""
    if isinstance(source, LandmarkDataset):
        warnings.warn(
            f"{source.name}: RecordIO holds images and labels, the landmarks stay behind",
            stacklevel=3,
        )


def check_quality(quality: int) -> None:
    """Refuse what is no JPEG quality.

    Raises:
        FacedistillError: If it is not 1 to 100.
    """
    if not 1 <= quality <= 100:
        raise FacedistillError(f"quality {quality}: JPEG quality is 1 to 100")


def require_room(out: Path, overwrite: bool) -> None:
    """Refuse to write into a folder that holds something, unless that is asked for.

    Raises:
        FacedistillError: If it does.
    """
    if out.exists() and not overwrite and not _is_empty(out):
        raise FacedistillError(f"{out} is not empty; give another folder, or --overwrite")


def _is_empty(folder: Path) -> bool:
    """Whether there is nothing to lose; hidden files are what a killed packing leaves."""
    return folder.is_dir() and all(entry.name.startswith(".") for entry in folder.iterdir())


class _Packed(NamedTuple):
    """An image as it is stored: its file, whether that is a new one, whether it was turned."""

    encoded: bytes
    reencoded: bool
    turned: bool


@dataclass(frozen=True)
class _Fit:
    """Gives sample `index` as it is to be stored."""

    source: FaceDataset
    shape: tuple[int, int]
    first: str
    resize: bool
    quality: int
    reencode: bool

    def __call__(self, index: int) -> _Packed:
        encoded, where = self.source.encoded(index), self.source.where(index)
        turned = header_of(encoded, where).orientation != 1
        if self.reencode and not turned:
            image = self.source[index].image
        else:
            image = decode_image(encoded, where, upright=True)
        if image.shape[:2] != self.shape:
            if not self.resize:
                raise FacedistillError(_differs(where, image.shape, self.first, self.shape))
            image = _resize(image, self.shape[0], where)
        elif not self.reencode and not turned:
            return _Packed(encoded, False, False)
        return _Packed(encode_jpeg(image, self.quality), True, turned)


def _upright_size(header: ImageHeader) -> tuple[int, int]:
    """Return (height, width) once an image is turned: orientations from 5 on exchange them."""
    size = header.height, header.width
    return size if header.orientation < 5 else size[::-1]


def _resize(image: np.ndarray, size: int, where: str) -> np.ndarray:
    height, width = image.shape[:2]
    if height != width:
        raise FacedistillError(
            f"{where}: {width} x {height} pixels cannot become {size} x {size} without distortion; "
            "align the faces with `facedistill prepare`"
        )
    return scale_square(image, size)


def _differs(where: str, shape: tuple[int, ...], first: str, expected: tuple[int, int]) -> str:
    return (
        f"{where}: {shape[1]} x {shape[0]} pixels, but {first} has {expected[1]} x {expected[0]}; "
        "give --size to resize, or align the faces with `facedistill prepare`"
    )
