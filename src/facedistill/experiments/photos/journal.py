"""What was done so far of many photographs, kept beside the result until that is whole.

The photographs are done in chunks. A chunk's crops are written first, then, at once and whole, its
decisions: a chunk without decisions is done again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from facedistill.core.atomic import atomic_path, lock_folder
from facedistill.core.errors import FacedistillError
from facedistill.core.json_text import json_text
from facedistill.core.regular_files import read_regular
from facedistill.experiments.photos.found_faces import FaceRow

CHUNK = 16
"""Photographs whose decisions are kept in one file."""

_SETTINGS = "settings.json"
_POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
COLUMNS = (
    *("photo", "face", "left", "top", "width", "height", "score", "yaw", "sharpness"),
    *(f"{point}_{axis}" for point in _POINTS for axis in "xy"),
    *("crop", "dropped"),
)
"""Of the table of decisions."""


def journal_folder(out: Path) -> Path:
    """Return where unfinished work of an output lies."""
    return out.resolve().with_name(f".{out.resolve().name}.facedistill-photos")


def done_chunks(out: Path) -> int:
    """Return how many chunks of an output are done."""
    return sum(1 for _ in journal_folder(out).glob("chunk-*.json"))


class Journal:
    """The unfinished work of one output.

    Attributes:
        folder: Where it lies.
        crops: The folder of the crops in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.crops = folder, folder / "crops"

    def done(self) -> set[int]:
        """Return the numbers of the chunks that are done."""
        return {int(path.stem.split("-")[1]) for path in self.folder.glob("chunk-*.json")}

    def write(self, chunk: int, rows: list[list[FaceRow]], crops: dict[str, bytes]) -> None:
        """Keep a chunk: the rows of each of its photographs, and the crops by name."""
        for name, encoded in crops.items():
            path = self.crops / f"{name}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded)
        with atomic_path(self._chunk(chunk)) as temporary:
            temporary.write_text(json.dumps([[asdict(row) for row in each] for each in rows]))

    def rows(self) -> Iterator[list[FaceRow]]:
        """Give the rows of every photograph that is done, in order."""
        for chunk in sorted(self.done()):
            for each in json.loads(read_regular(self._chunk(chunk))):
                yield [FaceRow(**row) for row in each]

    def write_table(self, path: Path) -> None:
        """Write all decisions as a CSV table."""
        with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as f:
            writer = csv.writer(f)
            writer.writerow(COLUMNS)
            for rows in self.rows():
                writer.writerows(map(_cells, rows))

    def remove(self) -> None:
        """Take the unfinished work away, which is whole elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _chunk(self, chunk: int) -> Path:
        return self.folder / f"chunk-{chunk:07d}.json"


@contextmanager
def open_journal(out: Path, settings: dict[str, Any], overwrite: bool) -> Iterator[Journal]:
    """Go on with the unfinished work of an output, or begin.

    Args:
        out: The output.
        settings: What decides the result; work of other settings is not gone on with.
        overwrite: Begin anew where there is such.

    Raises:
        FacedistillError: If there is unfinished work of other settings, or another process does
            the same.
    """
    folder = journal_folder(out)
    digest = hashlib.blake2b(json_text(settings).encode(), digest_size=16).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lock_folder(lock, out)
        stated = folder / _SETTINGS
        if stated.exists() and read_regular(stated).decode("utf-8", "replace") != digest:
            if not overwrite:
                raise FacedistillError(
                    f"{folder} keeps unfinished work on other photos or with other options: give "
                    "the same again to go on, or --overwrite to begin anew"
                )
            for left in folder.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        with atomic_path(stated) as temporary:
            temporary.write_text(digest)
        (folder / "crops").mkdir(exist_ok=True)
        yield Journal(folder)
    finally:
        os.close(lock)


def _cells(row: FaceRow) -> list[Any]:
    box: list[Any] = [*row.box] or [""] * 4
    points: list[Any] = [*row.landmarks] or [""] * 10
    crop = f"{row.crop}.jpg" if row.crop else ""
    judged = [row.score, row.yaw, row.sharpness]
    return [row.photo, row.face, *box, *judged, *points, crop, row.dropped]
