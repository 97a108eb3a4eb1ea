"""A labelled data set cut in two by identity: one set to train on, one to measure on."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.atomic import atomic_folder
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.data.dataset import FaceDataset
from facedistill.data.labels import (
    Subset,
    check_labels,
    identities_held_out,
    split_identities,
    stated_number,
)
from facedistill.data.near_duplicates import near_duplicates, thumbnails
from facedistill.data.packing import pack, require_room, warn_of_landmarks
from facedistill.runtime.image_file import JPEG_QUALITY

TRAIN, TEST, REPORT = "train", "test", "split.json"
"""What a folder of a split holds."""

_LEAST = 3
"""Identities, of which two can be told apart in the test set and one is left to train on."""

_MOST_COMPARED = 10**10
"""Pairs of images; more are compared by their bytes alone, as their thumbnails would take long."""


@dataclass(frozen=True)
class IdentitySplit:
    """Which identities a test set gets.

    Attributes:
        wanted: How many, or which share of all.
        seed: Which ones.
    """

    wanted: int | float
    seed: int = 0

    @classmethod
    def parse(cls, text: str, seed: int = 0) -> IdentitySplit:
        """Read `identities=600`, or a share of them as `identities=0.1`.

        Raises:
            FacedistillError: If it is neither.
        """
        key, _, value = text.partition("=")
        try:
            number = int(value) if value.isdecimal() else float(value)
        except ValueError:
            number = 0
        if key != "identities" or not (0 < number < 1 or (number and isinstance(number, int))):
            raise FacedistillError(
                f"--split {text}: give the number of identities of the test set, identities=600, "
                "or their share of all, identities=0.1"
            )
        return cls(number, seed)


@dataclass(frozen=True)
class Repeated:
    """Images of one side that are on the other side too.

    Attributes:
        same: Images of the test set whose bytes are in the training set too.
        nearly: Further ones that are nearly the same photo; None where there are too many images
            to compare.
        first: Places of a pair, training image first; None where there is none.
    """

    same: int
    nearly: int | None
    first: tuple[str, str] | None


def write_split(
    source: FaceDataset,
    out: str | Path,
    split: IdentitySplit,
    *,
    size: int | None = None,
    quality: int = JPEG_QUALITY,
    overwrite: bool = False,
    workers: int = 0,
) -> dict[str, Any]:
    """Write a labelled set as two RecordIO folders, `train` and `test`, that share no identity.

    Images that are on both sides, by their bytes or as nearly the same photo, are counted in a
    warning: one of the two has a wrong label, or two folders show one identity.

    Args:
        source: Labelled faces.
        out: Folder to write: `train/`, `test/` and `split.json`. It appears whole.
        split: Which identities the test set gets.
        size: See `packing.pack`.
        quality: See `packing.pack`.
        overwrite: Replace an earlier split that is in `out`.
        workers: See `packing.pack`.

    Returns:
        JSON-ready: path, seed, of either set images and identities, and genuine pairs of the test
        set; in_both and nearly_in_both (see `Repeated`).

    Raises:
        FacedistillError: If there are no labels, too few identities, `out` holds something else,
            or see `packing.pack`. Nothing is left half-written.
    """
    out = Path(out)
    count = check_split(source, out, split, overwrite)
    _warn_of_other_count(source, split.wanted, count)
    warn_of_landmarks(source)
    indices = dict(
        zip((TRAIN, TEST), split_identities(source.labels, count, split.seed), strict=True)
    )
    sides = {side: Subset(source, each) for side, each in indices.items()}
    pairs = _genuine_pairs(sides[TEST])
    report: dict[str, Any] = {"source": Path(source.name).name, "seed": split.seed}
    with atomic_folder(out) as folder:
        for side, faces in sides.items():
            packed = pack(faces, folder / side, size=size, quality=quality, workers=workers)
            report[f"{side} images"] = packed["images"]
            report[f"{side} identities"] = packed["identities"]
        report["genuine pairs of test"] = pairs
        repeated = _repeated(sides[TRAIN], sides[TEST])
        report |= {"in both": repeated.same, "nearly in both": repeated.nearly}
        (folder / REPORT).write_text(json_text(report) + "\n", "utf-8")
    _warn(source.name, repeated, pairs)
    return {"path": str(out), **report}


def check_split(
    source: FaceDataset, out: str | Path, split: IdentitySplit, overwrite: bool = False
) -> int:
    """Refuse what `write_split` would, before images are read.

    Returns:
        How many identities the test set gets.

    Raises:
        FacedistillError: See `write_split`.
    """
    _require_split_only(Path(out), overwrite)
    return _test_identities(source, split.wanted)


def _require_split_only(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something; with `overwrite` one that is not a split."""
    require_room(out, overwrite)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    held = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    if REPORT not in held or held - {TRAIN, TEST, REPORT}:
        raise FacedistillError(
            f"{out} was not written by `facedistill prepare --split`, or holds more than that, so "
            "nothing there is overwritten: give another folder"
        )


def _test_identities(source: FaceDataset, wanted: int | float) -> int:
    """Return how many identities the test set gets."""
    identities = check_labels(source.labels, source.name)
    if not identities:
        raise FacedistillError(
            f"{source.name} has no labels, so nothing says which images show one identity: put "
            "them into one folder per identity, or give a list with labels"
        )
    if identities < _LEAST:
        raise FacedistillError(
            f"{source.name} has {identities} identities: a test set needs two to tell apart, and "
            "one is to be left to train on"
        )
    return max(2, identities_held_out(wanted, identities))


def _warn_of_other_count(source: FaceDataset, wanted: int | float, count: int) -> None:
    identities = len(np.unique(source.labels))
    if count != (round(wanted * identities) if isinstance(wanted, float) else wanted):
        warnings.warn(
            f"{source.name} has {identities:,} identities, --split identities is "
            f"{stated_number(wanted, identities)}: the test set gets {count:,}",
            stacklevel=3,
        )


def _genuine_pairs(faces: FaceDataset) -> int:
    counts = np.bincount(faces.labels)
    return int((counts * (counts - 1) // 2).sum())


def _repeated(train: FaceDataset, test: FaceDataset) -> Repeated:
    keys = {train.key(index): index for index in range(len(train))}
    same = {i: keys[key] for i in range(len(test)) if (key := test.key(i)) in keys}
    nearly: dict[int, int] | None = None
    if len(train) * len(test) <= _MOST_COMPARED:
        left = thumbnails(train, "looking for repeated photos")
        found = near_duplicates(left, thumbnails(test))
        nearly = {place: other for other, place in found if place not in same}
    first = next(iter((same or nearly or {}).items()), None)
    places = None if first is None else (train.where(first[1]), test.where(first[0]))
    return Repeated(len(same), None if nearly is None else len(nearly), places)


def _warn(name: str, repeated: Repeated, pairs: int) -> None:
    if repeated.first is not None:
        warnings.warn(
            f"{name}: {repeated.same:,} images of the test set are in the training set too, and "
            f"{repeated.nearly or 0:,} more are nearly the same photo as one there (first "
            f"{repeated.first[0]} and {repeated.first[1]}): one label is wrong, or two are of one "
            "identity, so that the test set measures some training faces",
            stacklevel=3,
        )
    if repeated.nearly is None:
        warnings.warn(
            f"{name}: there are too many images to look for photos stored anew on both sides; "
            "they were compared by their bytes alone",
            stacklevel=3,
        )
    if not pairs:
        warnings.warn(
            f"{name}: no identity of the test set has two images, so it gives no genuine pairs to "
            "measure on; take more identities, or another --seed",
            stacklevel=3,
        )
