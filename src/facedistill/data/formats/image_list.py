"""Text lists of image files and their labels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.data.dataset import FaceDataset
from facedistill.data.dataset_format import Format, FormatOptions, register
from facedistill.data.formats.image_folder import read_image_file
from facedistill.data.labels import check_labels
from facedistill.data.labels import relabel as renumber

LIST_SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
_SLOW = 100_000
"""Images above which looking for the files shows a progress bar."""


class ListDataset(FaceDataset):
    """The images named in a text file, one `path label` a line.

    A tab separates path and label; where a line has none, the last comma; else the last blank, so
    that paths may hold blanks. The lists of im2rec (`index TAB label TAB path`) read as well, and
    a first line `path,label`, empty lines and lines that begin with `#` are passed over. The
    label is a whole number from 0, or -1 where unknown.

    Args:
        list_file: UTF-8 text.
        root: What paths are relative to; the list's own folder by default.
        relabel: Number the identities anew instead of refusing labels with holes.

    Attributes:
        files: Each sample's path.

    Raises:
        FacedistillError: If a line is not of that form, a file is missing or labels have holes.
    """

    kind = "image list"

    def __init__(
        self, list_file: str | Path, root: str | Path | None = None, *, relabel: bool = False
    ) -> None:
        self.path = Path(list_file)
        self.name = str(self.path)
        root = self.path.parent if root is None else Path(root)
        rows = _read_rows(self.path)
        self.lines = np.array([row[0] for row in rows], np.int64)
        self.files = [str(root / row[1]) for row in rows]
        require_files(
            self.path,
            self.files,
            self.lines.tolist(),
            "; paths are relative to the list's folder unless a root is given",
        )
        labels = np.array([row[2] for row in rows], np.int64)
        self.labels = renumber(labels)[0] if relabel else labels
        check_labels(self.labels, self.name)

    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file of sample `index`."""
        return read_image_file(Path(self.files[index]))

    def where(self, index: int) -> str:
        """Return `image (list line N)`."""
        return f"{self.files[index]} ({self.path} line {self.lines[index]})"


def split_line(line: str) -> tuple[str, str]:
    """Return a line's (path, label) as texts; the label is empty where the line has none."""
    if line.count("\t") == 2:  # im2rec: index, label, path.
        _, label, path = line.split("\t")
        if _is_number(label):
            return path.strip(), re.sub(r"\.0+$", "", label.strip())
    separator = next((mark for mark in "\t," if mark in line), None)
    path, _, label = line.rstrip().rpartition(separator or " ")
    return path.strip(), label.strip()


def require_files(path: Path, files: Sequence[str], lines: Sequence[int], remedy: str = "") -> None:
    """Refuse a list that names a file which is not there.

    Args:
        path: The list.
        files: The files it names.
        lines: The line of each.
        remedy: What to add to the message.

    Raises:
        FacedistillError: Naming the first such line.
    """
    todo: Iterable[str] = files
    if len(files) > _SLOW:
        todo = track(files, f"looking for {path.name}", len(files), "files")
    for line, file in zip(lines, todo, strict=True):
        # Unlike Path, takes a name too long for the system for one that is not there.
        if not os.path.isfile(file):  # noqa: PTH113
            raise FacedistillError(f"{path} line {line}: no such file: {file}{remedy}")


def read_lines(path: Path) -> list[str]:
    """Return the lines of a list, as they stand between line feeds.

    Raises:
        FacedistillError: If it cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise FacedistillError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FacedistillError(
            f"{path}: not UTF-8 text (byte {error.start}); save the list as UTF-8"
        ) from error


def _read_rows(path: Path) -> list[tuple[int, str, int]]:
    """Return (line number, path, label) of every line that names an image."""
    lines = read_lines(path)
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        file, label = split_line(line)
        if number == 1 and (file.lower(), label.lower()) == ("path", "label"):
            continue
        if not file or "\0" in file or not _is_label(label):
            raise FacedistillError(
                f"{path} line {number}: {line[:80]!r} is not `path label` with a whole number from "
                "0 as label (-1 where unknown)"
            )
        rows.append((number, file, int(label)))
    return rows


def _is_label(text: str) -> bool:
    return text == "-1" or (text.isascii() and text.isdigit() and len(text) < 18)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_list(source: str) -> bool:
    path = Path(source)
    return path.suffix.lower() in LIST_SUFFIXES and path.is_file()


def _open(source: str, options: FormatOptions) -> ListDataset:
    return ListDataset(source, relabel=options.relabel)


register(
    Format(
        "image_list",
        "image list",
        f"A list ({', '.join(LIST_SUFFIXES)}) of image files and their labels, one a line.",
        recognises=_is_list,
        open=_open,
        order=60,
    )
)
