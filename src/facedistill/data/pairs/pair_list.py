"""Own lists of pairs: `path path label` a line, or the lines of LFW without its first one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.data.faults import Faults
from facedistill.data.formats.image_list import find_files
from facedistill.data.pairs.lfw_pairs import NumberedImages, has_header, read_lfw
from facedistill.data.pairs.pair_rows import (
    ListedImage,
    PairRow,
    listed_pairs,
    numbered_lines,
    split_fields,
)
from facedistill.data.pairs.pair_set import PairSet

_RELATIVE = "paths are relative to the list's folder, or to FOLDER of FOLDER:LIST"
_LABELS = {
    **dict.fromkeys(("1", "1.0", "true"), True),
    **dict.fromkeys(("0", "0.0", "false"), False),
}


def read_pair_list(folder: str | Path, path: str | Path) -> PairSet:
    """Read a list of pairs.

    Three layouts: LFW's (see `read_lfw`); its lines `name i j` and `name1 i name2 j` without the
    first one; and `path path label` or `label path path`, where label is 1 (one identity) or 0.
    A first line that is nothing of this may name the columns. Without LFW's first line, 20 pairs or
    more are cut into ten folds, each with a tenth of either kind.

    Args:
        folder: What paths are relative to, or where the identities' folders lie.
        path: The list, UTF-8, its fields separated by tabs, commas or blanks.

    Raises:
        FacedistillError: If a line is of no such layout, or lines name images that are not there.
    """
    folder, path = Path(folder), Path(path)
    if has_header(path):
        return read_lfw(folder, path)
    faults = Faults(str(path))
    images = NumberedImages(folder, faults)
    rows = []
    for place, (number, line) in enumerate(numbered_lines(path)):
        where, fields = f"{path} line {number}", split_fields(line)
        if fields[1:2] and fields[1].isdigit():
            rows.append(PairRow(number, *images.pair(fields, line, where)))
            continue
        labelled = _labelled(fields)
        if labelled is not None:
            left, right, same = labelled
            files = find_files(path, [left, right], [number] * 2, folder, faults, _RELATIVE)
            rows.append(PairRow(number, ListedImage(files[0]), ListedImage(files[1]), same))
        elif place or any(field.isdigit() for field in fields):
            raise FacedistillError(
                f"{where}: {line[:80]!r} is no pair: write `path path label` with 1 or 0 as label, "
                "`name i j`, or `name1 i name2 j`"
            )
    faults.settle(None)
    if not rows:
        raise FacedistillError(
            f"{path}: no pairs there: write a line `path path label` for each, with 1 or 0 as "
            "label, or LFW's lines"
        )
    folds = np.zeros(len(rows), np.int64)
    return listed_pairs(folder, path, rows, folds, name=path.name)


def _labelled(fields: list[str]) -> tuple[str, str, bool] | None:
    """Return two paths and whether they are of one identity; None of other fields."""
    if len(fields) != 3 or "\0" in "".join(fields):
        return None
    if fields[2].lower() in _LABELS:
        return fields[0], fields[1], _LABELS[fields[2].lower()]
    if fields[0].lower() in _LABELS:
        return fields[1], fields[2], _LABELS[fields[0].lower()]
    return None
