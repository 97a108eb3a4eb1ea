"""From what a user writes to a data set, and what is in it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.core.suggestion import did_you_mean
from facedistill.data.formats.decode import image_size
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.formats.image_list import ListDataset
from facedistill.data.formats.landmark_list import (
    LandmarkDataset,
    has_pts_files,
    is_landmark_list,
    read_landmark_list,
    read_pts_folder,
)
from facedistill.data.formats.procedural import PREFIX, ProceduralDataset, parse_procedural
from facedistill.data.formats.recordio import RecordIODataset
from facedistill.data.labels import UNLABELLED
from facedistill.data.sample import FaceDataset

LIST_SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
SUMMARY_SAMPLE = 1000
"""How many images a summary reads, evenly spread."""


def open_dataset(source: str | Path, *, relabel: bool = False, five: bool = True) -> FaceDataset:
    """Open whatever holds faces.

    Args:
        source: A folder with `train.rec`, a `.rec` file, a folder of images (one folder per
            identity, or flat and unlabelled), a folder of images with `.pts` files, a list file
            (.txt, .lst, .csv, .tsv) of labels or of landmarks, or a
            `procedural:identities=600,images=20` specification.
        relabel: Number the identities anew instead of refusing labels with holes.
        five: Reduce larger markups of landmarks to the template's five points.

    Returns:
        The data set, its labels checked.

    Raises:
        FacedistillError: If there is nothing there, it is something else or it is damaged.
    """
    if str(source).startswith(PREFIX):
        return parse_procedural(str(source))
    path = Path(source)
    if path.is_dir():
        return _open_folder(path, relabel, five)
    if not path.exists():
        raise FacedistillError(_missing(path))
    suffix = path.suffix.lower()
    if suffix == ".rec":
        return RecordIODataset(path, relabel=relabel)
    if suffix in LIST_SUFFIXES:
        if is_landmark_list(path):
            return read_landmark_list(path, five=five)
        return ListDataset(path, relabel=relabel)
    raise FacedistillError(_other_kind(path, suffix))


def is_landmark_set(source: str | Path) -> bool:
    """Whether something is there to measure landmarks on, rather than pairs.

    Args:
        source: A landmark list, a folder with `.pts` files, or a `procedural:` specification of
            loose crops.
    """
    if str(source).startswith(PREFIX):
        return parse_procedural(str(source)).loose > 0
    path = Path(source)
    if path.is_dir():
        return has_pts_files(path)
    return path.suffix.lower() in LIST_SUFFIXES and is_landmark_list(path)


def _open_folder(path: Path, relabel: bool, five: bool) -> FaceDataset:
    if _has_records(path):
        return RecordIODataset(path, relabel=relabel)
    return read_pts_folder(path, five=five) if has_pts_files(path) else FolderDataset(path)


def dataset_summary(dataset: FaceDataset) -> dict[str, Any]:
    """Describe a data set without reading more than `SUMMARY_SAMPLE` images of it.

    Args:
        dataset: What to describe.

    Returns:
        JSON-ready: name, kind, images, identities, images_per_identity (min, median, max; None
        where unlabelled), and over the images read (sampled): sizes ("WxH" to count, most frequent
        first), mean_bytes, duplicates (images whose bytes occurred before).

    Raises:
        FacedistillError: If an image that is read is damaged.
    """
    count = min(len(dataset), SUMMARY_SAMPLE)
    indices = np.linspace(0, len(dataset) - 1, count).astype(int).tolist()
    sizes: dict[str, int] = {}
    keys, total = set(), 0
    for index in track(indices, "reading images", count, "images"):
        encoded = dataset.encoded(index)
        height, width = image_size(encoded, dataset.where(index))
        sizes[f"{width}x{height}"] = sizes.get(f"{width}x{height}", 0) + 1
        keys.add(dataset.key(index))
        total += len(encoded)
    counts = np.bincount(dataset.labels[dataset.labels != UNLABELLED])
    return {
        "name": dataset.name,
        "kind": _kind(dataset),
        "images": len(dataset),
        "identities": len(counts),
        "images_per_identity": _spread(counts),
        "sampled": len(indices),
        "sizes": dict(sorted(sizes.items(), key=lambda item: -item[1])),
        "mean_bytes": round(total / len(indices)),
        "duplicates": len(indices) - len(keys),
    }


def _kind(dataset: FaceDataset) -> str:
    kinds = {
        RecordIODataset: "RecordIO",
        FolderDataset: "image folder",
        ListDataset: "image list",
        LandmarkDataset: "images with landmarks",
        ProceduralDataset: "procedural faces",
    }
    return kinds.get(type(dataset), type(dataset).__name__)


def _spread(counts: np.ndarray) -> dict[str, float] | None:
    if not len(counts):
        return None
    return {
        "min": int(counts.min()),
        "median": float(np.median(counts)),
        "max": int(counts.max()),
    }


def _has_records(folder: Path) -> bool:
    return any(folder.glob("*.rec"))


def _missing(path: Path) -> str:
    missing = path
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    hint = "check the name"
    try:
        names = [entry.name for entry in islice(missing.parent.iterdir(), 10_000)]
        close = did_you_mean(missing.name, names)
    except OSError:
        close = ""
    if close.startswith("did you mean"):
        hint = f"in {missing.parent}, {close}"
    return f"{path}: no such file or folder; {hint}"


def _other_kind(path: Path, suffix: str) -> str:
    if suffix == ".bin":
        return (
            f"{path}: a file of verification pairs, not a training set; `facedistill evaluate "
            f"MODEL {path.name}` takes it"
        )
    if suffix in (".idx", ".npy"):
        return f"{path}: not a data set by itself; give the .rec file or its folder"
    if suffix in (".safetensors", ".onnx", ".pt", ".pth", ".ckpt"):
        return f"{path}: a model, not a data set; exchange the arguments"
    return (
        f"{path}: not a data set; give a folder of images, a folder with train.rec, a .rec file, a "
        f"list ({', '.join(LIST_SUFFIXES)}) or {PREFIX}identities=600,images=20"
    )
