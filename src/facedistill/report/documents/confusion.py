"""Identities that a teacher confuses: label noise in words, JSON and a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.dataset import FaceDataset
from facedistill.data.open import open_dataset
from facedistill.distill.bank.bank import Bank
from facedistill.distill.bank.label_noise import LabelNoise, find_label_noise, nearest_other
from facedistill.report.sheet import contact_sheet, save_sheet

SAME_ABOVE, FAR_BELOW = 0.7, 0.2
"""Default thresholds; what is usual depends on the teacher, so look at the sheet."""
MOST = 1000
"""Most pairs and images that JSON lists; counts are of all."""
_SPOKEN, _DRAWN = 10, 8
_EACH = 3
"""Images of an identity on the sheet."""


@dataclass(frozen=True)
class Confusion:
    """A teacher's doubts about the labels of a data set.

    Attributes:
        bank: Its folder.
        data: The data set's name.
        identities: How many identities.
        images: How many images.
        single: How many of them are the only one of their identity, and so not compared.
        same_above: Cosine of two prototypes from which they are likely one identity.
        far_below: Cosine of an image with the others of its identity below which it is likely
            mislabelled.
        closest: The nearest pairs of identities.
        same: Number of pairs at or above `same_above`.
        farthest: The images least like their identity.
        far: Number of images below `far_below`.
    """

    bank: str
    data: str
    identities: int
    images: int
    single: int
    same_above: float
    far_below: float
    closest: list[dict[str, Any]]
    same: int
    farthest: list[dict[str, Any]]
    far: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready figures."""
        return dict(vars(self))

    def text(self) -> str:
        """Return the report as lines of text."""
        lines = [
            f"{self.data}: {self.images:,} images of {self.identities:,} identities, seen by bank "
            f"{self.bank}",
            f"likely one identity: {self.same:,} pairs of identities with cosine "
            f"{self.same_above:g} or more",
            *map(_pair_line, self.closest[:_SPOKEN]),
            f"likely mislabelled: {self.far:,} images with cosine below {self.far_below:g} to the "
            f"others of their identity ({self.single:,} are the only one and not compared)",
            *map(_image_line, self.farthest[:_SPOKEN]),
        ]
        return "\n".join(lines)


def _pair_line(pair: dict[str, Any]) -> str:
    return f"  {pair['cosine']:.3f}  {pair['first']} and {pair['second']}"


def _image_line(image: dict[str, Any]) -> str:
    return (
        f"  {image['cosine']:.3f}  {image['where']} of {image['identity']}; nearest other "
        f"{image['nearest']} ({image['nearest_cosine']:.3f})"
    )


def inspect_confusion(
    source: str | Path,
    data: str | Path | None = None,
    *,
    sheet: Path | None = None,
    same_above: float = SAME_ABOVE,
    far_below: float = FAR_BELOW,
) -> Confusion:
    """Report the identities that a bank's teacher confuses, and images unlike their own identities.

    Args:
        source: The bank.
        data: The labelled faces; by default those the bank was made from, if they are still there.
        sheet: Where to write a sheet: the nearest pairs of identities, three images of each, and
            the images least like their identity, between its own and the nearest other's.
        same_above: From which cosine two identities count as likely one identity.
        far_below: Below which cosine an image counts as likely mislabelled.

    Raises:
        FacedistillError: If the source is no bank, or the data is unlabelled or not the bank's.
    """
    bank = Bank(source)
    faces = _open_data(bank, data)
    noise = find_label_noise(bank, faces)
    far = noise.farthest(np.inf)[:MOST]
    others, values = nearest_other(noise, bank, far, faces.labels)
    if sheet is not None:
        _draw(sheet, faces, noise, far[:_DRAWN], others)
    return Confusion(
        bank=str(bank.folder),
        data=faces.name,
        identities=len(noise.prototypes),
        images=len(faces),
        single=int(np.isnan(noise.images).sum()),
        same_above=same_above,
        far_below=far_below,
        closest=[
            {"first": _name(faces, a), "second": _name(faces, b), "cosine": round(float(c), 4)}
            for (a, b), c in zip(noise.pairs[:MOST], noise.cosines[:MOST], strict=True)
        ],
        same=int((noise.cosines >= same_above).sum()),
        farthest=[
            {
                "index": int(index),
                "where": faces.where(int(index)),
                "identity": _name(faces, faces.labels[index]),
                "cosine": round(float(noise.images[index]), 4),
                "nearest": _name(faces, other),
                "nearest_cosine": round(float(value), 4),
            }
            for index, other, value in zip(far, others, values, strict=True)
        ],
        far=len(noise.farthest(far_below)),
    )


def _open_data(bank: Bank, data: str | Path | None) -> FaceDataset:
    if data is None:
        try:
            faces = open_dataset(bank.info.dataset_name)
        except FacedistillError as error:
            raise FacedistillError(
                f"the faces of bank {bank.folder} are not where they were ({error}): give --data"
            ) from error
    else:
        faces = open_dataset(data)
    bank.check_dataset(faces)
    return faces


def _name(faces: FaceDataset, label: int) -> str:
    """What an identity is called: its folder's name where it has one, else its number."""
    names = getattr(faces, "identity_names", ())
    return names[label] if len(names) else str(label)


def _draw(
    path: Path, faces: FaceDataset, noise: LabelNoise, far: np.ndarray, others: np.ndarray
) -> None:
    """Write the sheet: rows of six, three of one side and three of the other."""
    pairs: list[_Tile] = []
    for (a, b), cosine in zip(noise.pairs[:_DRAWN], noise.cosines, strict=False):
        pairs += _typical(faces, noise, int(a), _EACH, f"{cosine:.2f} to {_name(faces, b)}")
        pairs += _typical(faces, noise, int(b), _EACH, f"{cosine:.2f} to {_name(faces, a)}")
    strays: list[_Tile] = []
    for index, other in zip(far, others, strict=False):
        own = int(faces.labels[index])
        strays.append((int(index), f"{noise.images[index]:.2f} to the rest"))
        strays += _typical(faces, noise, own, _EACH - 1, "its identity", leave_out=int(index))
        strays += _typical(faces, noise, int(other), _EACH, "nearest other")
    sheets = [_rows(faces, pairs, "Nearest identities: one on the left, one on the right")]
    if strays:
        sheets.append(_rows(faces, strays, "Images unlike their identity, its others, the nearest"))
    save_sheet(path, np.concatenate(sheets))


_Tile = tuple[int | None, str]
"""An image's index, None for an empty place, and what to write under it."""


def _typical(
    faces: FaceDataset,
    noise: LabelNoise,
    identity: int,
    count: int,
    remark: str,
    leave_out: int = -1,
) -> list[_Tile]:
    """Return `count` tiles with the images most like their identity, most typical first."""
    own = np.flatnonzero(faces.labels == identity)
    own = own[own != leave_out]
    chosen = own[np.argsort(-noise.images[own], kind="stable")][:count]
    tiles: list[_Tile] = [(int(index), _name(faces, identity)) for index in chosen]
    tiles += [(None, "")] * (count - len(tiles))
    if count > 1:
        tiles[1] = (tiles[1][0], remark)
    return tiles


def _rows(faces: FaceDataset, tiles: list[_Tile], title: str) -> np.ndarray:
    images = {index: faces[index].image for index, _ in tiles if index is not None}
    # Both sheets must be of one width to stand on each other.
    height, width = (max(image.shape[axis] for image in images.values()) for axis in (0, 1))
    blank = np.full((height, width, 3), 255, np.uint8)
    shown = [blank if index is None else images[index] for index, _ in tiles]
    return contact_sheet(shown, 2 * _EACH, [label for _, label in tiles], title)
