"""Text lists of image files and their labels."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.progress import track
from facedistill.core.regular_files import read_regular, require_regular
from facedistill.data.dataset import FaceDataset
from facedistill.data.dataset_format import Format, FormatOptions, register
from facedistill.data.faults import Faults
from facedistill.data.labels import UNLABELLED, check_labels
from facedistill.data.labels import relabel as renumber
from facedistill.runtime.image_file import read_image_file

LIST_SUFFIXES = (".txt", ".lst", ".csv", ".tsv")
_PATH_COLUMNS = {"path", "file", "filename", "file_name", "filepath", "image", "image_path"}
_LABEL_COLUMNS = {"label", "identity", "identity_id", "id", "class", "class_id", "subject"} | {
    *("subject_id", "person", "person_id", "name", "target")
}
_RELATIVE = "paths are relative to the list's folder unless --root (in a recipe data.root) is given"
_SLOW = 100_000
"""Images above which looking for the files shows a progress bar."""


class ListDataset(FaceDataset):
    """The images named in a text file, one `path label` a line.

    A tab separates path and label; where a line has none, the last comma; else the last blank, so
    that paths may hold blanks. The lists of InsightFace (`1 TAB path TAB label`) and of im2rec
    (`index TAB label TAB path`) read as well. A first line may name the columns (`path,label`),
    which then may be more than these two; empty lines and lines that begin with `#` are passed
    over. Labels are whole numbers from 0, or -1 where unknown; or all of them are names, which are
    numbered in their sorted order. Backslashes in a path that is not there count as slashes.

    Args:
        list_file: UTF-8 text.
        root: What paths are relative to; the list's own folder by default.
        relabel: Number the identities anew instead of refusing labels with holes.
        skip: Leave out, with a warning, lines whose file is not there.

    Attributes:
        files: Each sample's path.
        identity_names: Name of each label; empty where the list has numbers.

    Raises:
        FacedistillError: If a line is not of that form, a file is missing or labels have holes.
    """

    kind = "image list"
    stored = True

    def __init__(
        self,
        list_file: str | Path,
        root: str | Path | None = None,
        *,
        relabel: bool = False,
        skip: bool = False,
    ) -> None:
        self.path = Path(list_file)
        self.name = str(self.path)
        self.root = self.path.parent if root is None else root
        listed, faults = read_rows(self.path), Faults(self.name)
        files = find_files(
            self.path,
            [row.path for row in listed],
            [row.line for row in listed],
            self.root,
            faults,
        )
        faults.settle(skip)
        self.files = [file for file in files if file]
        rows = [row for row, file in zip(listed, files, strict=True) if file]
        self.lines = np.array([row.line for row in rows], np.int64)
        self.identity_names, labels = _numbered(self.path, rows)
        self.labels = renumber(labels)[0] if relabel or len(rows) < len(listed) else labels
        check_labels(self.labels, self.name)

    def encoded(self, index: int) -> bytes:
        """Return the bytes of the image file of sample `index`."""
        return read_image_file(Path(self.files[index]))

    def file_name(self, index: int) -> str:
        """Return the image file's path relative to the root."""
        return os.path.relpath(self.files[index], self.root)

    def where(self, index: int) -> str:
        """Return `image (list line N)`."""
        return f"{self.files[index]} ({self.path} line {self.lines[index]})"


class ListRow(NamedTuple):
    """A line of a list.

    Attributes:
        line: Its number, from 1.
        path: The image.
        label: The label as text, a fraction of zeros cut off.
    """

    line: int
    path: str
    label: str


def read_rows(path: Path) -> list[ListRow]:
    """Return every line that names an image.

    Raises:
        FacedistillError: If the list cannot be read, or a line has no path or no label.
    """
    rows: list[ListRow] = []
    columns: _Columns | None = None
    separator = ""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if not rows and columns is None:
            separator = next((mark for mark in "\t,; " if mark in line), " ")
            columns = _header_columns(_cells(line, separator))
            if columns is not None:
                continue
        file, label = split_line(line) if columns is None else _picked(line, separator, columns)
        label = re.sub(r"^(-?[0-9]+)\.0*$", r"\1", label)
        if not file or not label or "\0" in file:
            raise FacedistillError(
                f"{path} line {number}: {line[:80]!r} is not `path label` with a whole number from "
                "0 or an identity's name as label (-1 where unknown)"
            )
        rows.append(ListRow(number, file, label))
    return rows


def split_line(line: str) -> tuple[str, str]:
    """Return a line's (path, label) as texts; the label is empty where the line has none."""
    if line.count("\t") == 2:
        first, second, third = (field.strip() for field in line.split("\t"))
        if _is_number(first) and _is_number(second):  # im2rec: index, label, path.
            return third, second
        if _is_number(first):  # InsightFace: whether aligned, path, label.
            return second, third
    separator = next((mark for mark in "\t," if mark in line), None)
    path, _, label = line.rstrip().rpartition(separator or " ")
    return path.strip(), label.strip()


class _Columns(NamedTuple):
    """Places of path and label in a line, and its number of fields."""

    path: int
    label: int
    number: int


def _header_columns(cells: list[str]) -> _Columns | None:
    """Return the columns where a first line names them."""
    names = [cell.lower() for cell in cells]
    paths = [place for place, name in enumerate(names) if name in _PATH_COLUMNS]
    labels = [place for place, name in enumerate(names) if name in _LABEL_COLUMNS]
    return _Columns(paths[0], labels[0], len(cells)) if paths and labels else None


def _picked(line: str, separator: str, columns: _Columns) -> tuple[str, str]:
    """Return a line's (path, label); neither where it has other fields than its header names."""
    cells = _cells(line, separator)
    if len(cells) != columns.number:
        return "", ""
    return cells[columns.path], cells[columns.label]


def _cells(line: str, separator: str) -> list[str]:
    """Return the fields of a line, which may stand in quotes; none where they do not close."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, strict=True))]
    except csv.Error:
        return []


def _numbered(path: Path, rows: Sequence[ListRow]) -> tuple[list[str], np.ndarray]:
    """Return the identities' names, none where labels are numbers, and int64 labels."""
    numbers = [row for row in rows if _is_label(row.label)]
    if len(numbers) == len(rows):
        return [], np.array([int(row.label) for row in rows], np.int64)
    others = [row for row in rows if not _is_label(row.label)]
    wrong = [row for row in others if _is_number(row.label)]
    labels = [row for row in numbers if row.label != "-1"]
    if wrong or labels:
        row = wrong[0] if wrong else min(labels, others, key=len)[0]
        raise FacedistillError(
            f"{path} line {row.line}: label {row.label[:80]!r}; labels are all whole numbers "
            "from 0 (-1 where unknown), or all names"
        )
    names = sorted({row.label for row in rows} - {"-1"})
    places = {name: place for place, name in enumerate(names)} | {"-1": UNLABELLED}
    return names, np.array([places[row.label] for row in rows], np.int64)


def find_files(
    path: Path,
    names: Sequence[str],
    lines: Sequence[int],
    root: str | Path,
    faults: Faults,
    relative: str = _RELATIVE,
) -> list[str]:
    """Return where the files are that a list names; nothing for one that is not there.

    Args:
        path: The list.
        names: The files it names; backslashes in one that is not there count as slashes.
        lines: The line of each.
        root: The folder that names are relative to.
        faults: Takes the lines whose file is not there, or is no file.
        relative: What to say of that where a file is not there.
    """
    todo: Iterable[str] = names
    if len(names) > _SLOW:
        todo = track(names, f"looking for {path.name}", len(names), "files")
    found = []
    for line, name in zip(lines, todo, strict=True):
        # Unlike Path, takes a name too long for the system for one that is not there.
        file = os.path.join(root, name)  # noqa: PTH118
        if not os.path.isfile(file):  # noqa: PTH113
            file = os.path.join(root, name.replace("\\", "/"))  # noqa: PTH118
        if not os.path.isfile(file):  # noqa: PTH113
            faults.add(
                f"lines that name no such file ({relative})",
                f"{path} line {line}: {_why_absent(file, root, name)}; {relative}",
            )
            file = ""
        found.append(file)
    return found


def _why_absent(file: str, root: str | Path, name: str) -> str:
    try:
        require_regular(file)
    except FacedistillError as error:
        return str(error)
    return f"no such file: {os.path.join(root, name)}"  # noqa: PTH118


def read_lines(path: Path) -> list[str]:
    """Return the lines of a list, whatever ends them.

    Raises:
        FacedistillError: If it cannot be read, or is no UTF-8 text.
    """
    try:
        text = read_regular(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FacedistillError(
            f"{path}: not UTF-8 text (byte {error.start}); save the list as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _is_label(text: str) -> bool:
    return text == "-1" or (text.isascii() and text.isdigit() and len(text) < 18)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", text) is not None


def _is_list(source: str) -> bool:
    path = Path(source)
    return path.suffix.lower() in LIST_SUFFIXES and path.is_file()


def _open(source: str, options: FormatOptions) -> ListDataset:
    return ListDataset(source, options.root, relabel=options.relabel, skip=options.skip)


register(
    Format(
        "image_list",
        "image list",
        f"A list ({', '.join(LIST_SUFFIXES)}) of image files and their labels, one a line.",
        recognises=_is_list,
        open=_open,
        lists=True,
        order=60,
    )
)
