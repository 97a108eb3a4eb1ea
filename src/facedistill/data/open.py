"""From what a user writes to a data set, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.missing_files import missing
from facedistill.core.network_suffixes import is_network
from facedistill.core.progress import track
from facedistill.core.regular_files import require_regular
from facedistill.data.damage import damaged_images
from facedistill.data.dataset import FaceDataset
from facedistill.data.dataset_format import FORMATS, FormatOptions, recognised
from facedistill.data.formats.image_list import LIST_SUFFIXES
from facedistill.data.formats.landmark_dataset import LandmarkDataset
from facedistill.data.formats.procedural import PREFIX
from facedistill.data.labels import UNLABELLED
from facedistill.data.stored_orientation import warn_of
from facedistill.runtime.image_file import DamagedImage, header_of

SUMMARY_SAMPLE = 10_000
"""How many images a summary reads, evenly spread; a tenth where each must be made first."""


def open_dataset(
    source: str | Path,
    *,
    relabel: bool = False,
    five: bool = True,
    root: str | Path | None = None,
    skip: bool = False,
) -> FaceDataset:
    """Open whatever holds faces.

    Args:
        source: A folder with `train.rec`, a `.rec` file, a folder of images (one folder per
            identity, or flat and unlabelled), a folder of images with `.pts` files, a list file
            (.txt, .lst, .csv, .tsv) of labels or of landmarks, a
            `procedural:identities=600,images=20` specification, or what an installed format takes.
        relabel: Number the identities anew instead of refusing labels with holes.
        five: Reduce larger markups of landmarks to the template's five points.
        root: The folder that the paths in a list are relative to; by default the list's own.
        skip: Leave out, with a warning, what is named and has no image, and images out of place.

    Returns:
        The data set, its labels checked.

    Raises:
        FacedistillError: If there is nothing there, it is something else or it is damaged.
    """
    found = recognised(str(source))
    if found is not None:
        if root is not None and not found.lists:
            raise FacedistillError(
                f"{source}: {found.title} has no paths: --root (data.root) goes with lists"
            )
        options = FormatOptions(
            relabel=relabel, five=five, root=None if root is None else Path(root), skip=skip
        )
        return found.open(str(source), options)
    path = Path(source)
    if not path.is_dir():
        require_regular(path)
    raise FacedistillError(_other_kind(path)) if path.exists() else missing(path)


def is_landmark_set(source: str | Path) -> bool:
    """Whether something is there to measure landmarks on, rather than pairs.

    Args:
        source: A landmark list, a folder with `.pts` files, or a `procedural:` specification of
            loose crops.
    """
    found = recognised(str(source))
    return found is not None and found.landmarks(str(source))


def dataset_summary(dataset: FaceDataset, *, whole: bool = False) -> dict[str, Any]:
    """Describe a data set without reading more than `SUMMARY_SAMPLE` images of it.

    Args:
        dataset: What to describe.
        whole: Read all of them nevertheless.

    Returns:
        JSON-ready: name, kind, images, identities, images_per_identity (min, median, max; None
        where unlabelled), and over the images read (sampled): sizes ("WxH" to count, most frequent
        first), mean_bytes, duplicates (images whose bytes occurred before) and
        duplicates_across_identities (those of them that first were another identity's); landmarks,
        the number of points, where there are some.

    Raises:
        FacedistillError: If images that are read are damaged; each is named.
    """
    most = SUMMARY_SAMPLE if dataset.stored else SUMMARY_SAMPLE // 10
    count = len(dataset) if whole else min(len(dataset), most)
    indices = np.linspace(0, len(dataset) - 1, count).astype(int).tolist()
    sizes: dict[str, int] = {}
    owners: dict[bytes, int] = {}
    across = total = 0
    damaged, turned = [], 0
    for index in track(indices, "reading images", count, "images"):
        try:
            encoded = dataset.encoded(index)
            header = header_of(encoded, dataset.where(index))
        except DamagedImage as error:
            damaged.append(str(error))
            continue
        size = f"{header.width}x{header.height}"
        sizes[size] = sizes.get(size, 0) + 1
        turned += header.orientation != 1
        label = int(dataset.labels[index])
        across += owners.setdefault(dataset.key(index), label) != label
        total += len(encoded)
    if damaged:
        raise damaged_images(dataset.name, damaged, count)
    if turned:
        warn_of(dataset.name, turned, count)
    counts = np.bincount(dataset.labels[dataset.labels != UNLABELLED])
    return {
        "name": dataset.name,
        "kind": dataset.kind or type(dataset).__name__,
        "images": len(dataset),
        "identities": len(counts),
        "images_per_identity": _spread(counts),
        "sampled": len(indices),
        "sizes": dict(sorted(sizes.items(), key=lambda item: -item[1])),
        "mean_bytes": round(total / len(indices)),
        "duplicates": len(indices) - len(owners),
        "duplicates_across_identities": across,
        **({"landmarks": dataset.pixels.shape[1]} if isinstance(dataset, LandmarkDataset) else {}),
    }


def _spread(counts: np.ndarray) -> dict[str, float] | None:
    if not len(counts):
        return None
    return {
        "min": int(counts.min()),
        "median": float(np.median(counts)),
        "max": int(counts.max()),
    }


def _other_kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == ".bin":
        return (
            f"{path}: a file of verification pairs, not a training set; `facedistill evaluate "
            f"MODEL {path.name}` takes it"
        )
    if suffix in (".idx", ".npy"):
        return f"{path}: not a data set by itself; give the .rec file or its folder"
    if is_network(path):
        return f"{path}: a model, not a data set; exchange the arguments"
    broken = "".join(f"; {reason}" for reason in FORMATS.broken().values())
    return (
        f"{path}: not a data set; give a folder of images, a folder with train.rec, a .rec file, a "
        f"list ({', '.join(LIST_SUFFIXES)}) or {PREFIX}identities=600,images=20{broken}"
    )
