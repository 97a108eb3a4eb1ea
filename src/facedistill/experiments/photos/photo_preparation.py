"""Photographs into aligned faces on disk, with a table of every decision."""

from __future__ import annotations

import os
import shutil
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from facedistill.core.atomic import atomic_folder, require_absent
from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.formats.image_folder import FolderDataset
from facedistill.data.formats.video import VideoFrames, is_video
from facedistill.data.identity_split import IdentitySplit, write_split
from facedistill.data.labels import UNLABELLED
from facedistill.data.loading.worker_processes import in_workers
from facedistill.data.open import open_dataset
from facedistill.data.packing import pack
from facedistill.data.views.selection import evenly_spread
from facedistill.data.views.upright import Upright
from facedistill.experiments.aligned_crops import MARK, check_place
from facedistill.experiments.photos.found_faces import (
    Choice,
    FaceFinder,
    FaceOptions,
    FaceRow,
    check_landmark_network,
)
from facedistill.experiments.photos.journal import CHUNK, Journal, open_journal
from facedistill.faces.landmarks import to_fractions
from facedistill.report.figures.landmark_figures import mark
from facedistill.report.sheet import contact_sheet, save_sheet
from facedistill.runtime.alignment import template
from facedistill.runtime.detection import Detector
from facedistill.runtime.image_file import decode_image, read_image_file

_SHEET_FACES = 96
_NAMED = 3
"""How many names a warning gives."""


def open_photos(
    source: str | Path, *, root: Path | None = None, every: int = 1, skip: bool = False
) -> FaceDataset:
    """Open photographs: a folder per identity, a flat folder, a list, or a video file.

    Args:
        source: What a user names.
        root: The folder that the paths in a list are relative to.
        every: Of a video: take one frame of so many.
        skip: Leave out, with a warning, what is named and has no image, and images out of place.

    Raises:
        FacedistillError: If it is nothing of this, or damaged.
    """
    if is_video(source):
        return VideoFrames(source, every)
    return Upright(open_dataset(source, root=root, relabel=True, skip=skip))


def default_choice(photos: FaceDataset) -> Choice:
    """Return which faces are taken where nobody says: one where photographs have identities."""
    return Choice.ALL if (photos.labels == UNLABELLED).all() else Choice.LARGEST


def prepare_photos(
    photos: FaceDataset,
    out: str | Path,
    detector: Detector,
    options: FaceOptions,
    *,
    landmarks: Path | None = None,
    as_records: bool = False,
    split: IdentitySplit | None = None,
    sheet: Path | None = None,
    overwrite: bool = False,
    workers: int = 0,
) -> dict[str, Any]:
    """Find the faces of photographs, cut them out aligned and write them.

    A killed call that is made again goes on where it stopped. Beside `out` a table of every
    decision is written, `OUT.csv`.

    Args:
        photos: The photographs, upright; see `open_photos`.
        out: Folder to write: a folder of crops per identity (or a flat one), or RecordIO.
        detector: Finds faces.
        options: Which are taken.
        landmarks: A network's file that finds the landmarks of each face once more.
        as_records: Write RecordIO instead of image files.
        split: Write two RecordIO sets that share no identity.
        sheet: Image file to write, of faces that were taken.
        overwrite: Replace what is in `out`.
        workers: Processes that find faces; 0 does it in this one.

    Returns:
        JSON-ready: what was written, what was found, and what was dropped by reason.

    Raises:
        FacedistillError: If there is something in `out`, or no face is taken.
    """
    out, table = Path(out), table_of(Path(out))
    require_absent(table, overwrite=overwrite)
    check_place(photos, out, split, as_records, overwrite)
    if landmarks is not None:
        check_landmark_network(landmarks)
    finder = FaceFinder(photos, crop_names(photos), detector, options, landmarks)
    with open_journal(out, _settings(photos, detector, options, landmarks), overwrite) as journal:
        _find_all(finder, journal, workers)
        rows = list(journal.rows())
        journal.write_table(table)
        summary = _summary(photos, rows, options)
        if not summary["crops"]:
            journal.remove()
            raise FacedistillError(
                f"{photos.name}: no face is taken of {len(photos):,} photos; {table} says why "
                f"({_most_frequent(rows)}); --min-size and --min-score let more pass"
            )
        _warn(photos, rows, options)
        if sheet is not None:
            save_sheet(sheet, _sheet(journal, rows, options.size))
            summary["sheet"] = str(sheet)
        crops = FolderDataset(journal.crops)
        crops.name = photos.name
        made: dict[str, Any] = {"overwrite": overwrite, "workers": workers}
        if split is not None:
            written = write_split(crops, out, split, **made)
        elif as_records:
            packed = pack(crops, out, **made)
            written = {key: packed[key] for key in ("path", "identities", "size", "bytes")}
        else:
            written = _write_crops(journal, out)
        journal.remove()
    return {**written, **summary, "decisions": str(table)}


def table_of(out: Path) -> Path:
    """Return the file of the decisions of an output."""
    return out.with_name(f"{out.name}.csv")


def crop_names(photos: FaceDataset) -> list[str]:
    """Return what the crops of each photograph are called, all different: `identity/photo`.

    Folders below an identity's become part of the name; photographs that differ by their suffix
    alone get their number.
    """
    names = []
    for index in range(len(photos)):
        identity, *rest = photos.copy_name(index).split("/")
        names.append("/".join([identity, "-".join(rest)]) if rest else identity)
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name}-{index:06d}" for index, name in enumerate(names)
    ]


def _settings(
    photos: FaceDataset, detector: Detector, options: FaceOptions, landmarks: Path | None
) -> dict[str, Any]:
    """Return what decides the result: photographs are told by name and identity."""
    return {
        "photos": [photos.where(index) for index in range(len(photos))],
        "identities": photos.labels.tolist(),
        "detector": str(getattr(detector, "path", "")),
        "options": asdict(options),
        "landmarks": str(landmarks),
    }


class _Chunk:
    """Does the photographs of chunk `number`."""

    def __init__(self, finder: FaceFinder) -> None:
        self.finder = finder

    def __call__(self, number: int) -> tuple[int, list[list[FaceRow]], dict[str, bytes]]:
        rows, crops = [], {}
        for index in range(number * CHUNK, min((number + 1) * CHUNK, len(self.finder.photos))):
            found, cut = self.finder(index)
            rows.append(found)
            crops.update(cut)
        return number, rows, crops


def _find_all(finder: FaceFinder, journal: Journal, workers: int) -> None:
    """Do the chunks that are not done."""
    count = len(finder.photos)
    done = journal.done()
    todo = [number for number in range(-(-count // CHUNK)) if number not in done]
    photos = sum(min(CHUNK, count - number * CHUNK) for number in todo)

    def kept() -> Iterator[None]:
        workers_used = min(workers, len(todo))
        with closing(in_workers(_Chunk(finder), todo, workers_used)) as chunks:
            for number, rows, crops in chunks:
                journal.write(number, rows, crops)
                yield from [None] * len(rows)

    if todo:
        label = "finding faces" if not done else f"finding faces ({count - photos:,} done before)"
        for _ in track(kept(), label, photos, "photos"):
            pass


def _write_crops(journal: Journal, out: Path) -> dict[str, Any]:
    """Bring the crops where they belong; the journal keeps its own until that is done."""
    with atomic_folder(out) as root:
        shutil.copytree(journal.crops, root, copy_function=_link, dirs_exist_ok=True)
        (root / MARK).touch()
        os.sync()  # Once for all, before the folder takes its place.
    return {"path": str(out)}


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # A file system without hard links.
        shutil.copyfile(source, target)


def _summary(
    photos: FaceDataset, rows: Sequence[list[FaceRow]], options: FaceOptions
) -> dict[str, Any]:
    faces = [row for each in rows for row in each if row.face is not None]
    reasons = Counter(row.reason for each in rows for row in each if row.dropped)
    return {
        "photos": len(photos),
        "faces found": len(faces),
        "crops": sum(bool(row.crop) for row in faces),
        "taken of each photo": options.choice.value,
        **{f"dropped, {reason}": count for reason, count in reasons.most_common()},
    }


def _most_frequent(rows: Sequence[list[FaceRow]]) -> str:
    reasons = Counter(row.reason for each in rows for row in each)
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(_NAMED))


def _warn(photos: FaceDataset, rows: Sequence[list[FaceRow]], options: FaceOptions) -> None:
    """Say what photographs and identities came to nothing, and where labels become doubtful."""
    unread = [each[0].dropped for each in rows if each[0].reason == "cannot be read"]
    if unread:
        warnings.warn(f"{len(unread):,} photos cannot be read: {_first(unread)}", stacklevel=3)
    labels = photos.labels
    if (labels == UNLABELLED).all():
        return
    taken = np.array([any(row.crop for row in each) for each in rows])
    lost = np.setdiff1d(labels, labels[taken])
    if len(lost):
        examples = [rows[int(np.flatnonzero(labels == label)[0])][0].photo for label in lost]
        warnings.warn(
            f"{len(lost):,} identities have no face left, those of {_first(examples)}: "
            "they are left out",
            stacklevel=3,
        )
    several = sum(sum(bool(row.crop) for row in each) > 1 for each in rows)
    if options.choice == Choice.ALL and several:
        warnings.warn(
            f"all faces of {several:,} photos with several get the photo's identity, also those "
            "of bystanders: --largest or --central takes one",
            stacklevel=3,
        )


def _first(names: Sequence[str]) -> str:
    return "; ".join(names[:_NAMED]) + ("; ..." if len(names) > _NAMED else "")


def _sheet(journal: Journal, rows: Sequence[list[FaceRow]], size: int) -> np.ndarray:
    """Show faces that were taken, evenly spread, with the template's points."""
    taken = [row for each in rows for row in each if row.crop]
    tiles, labels = [], []
    points = to_fractions(template(size), (size, size))
    for place in evenly_spread(len(taken), _SHEET_FACES).tolist():
        path = journal.crops / f"{taken[place].crop}.jpg"
        tiles.append(mark(decode_image(read_image_file(path), str(path)), points, (235, 64, 52)))
        labels.append(f"{taken[place].crop}  {taken[place].score:.2f}")
    return contact_sheet(tiles, labels=labels, title=f"{len(taken):,} faces")
