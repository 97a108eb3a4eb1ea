"""Tables that say which group identities or images belong to.

A CSV file with a header. Its first column is `identity` or `image`, every other column is an
attribute, and an empty cell means unknown:

    identity,sex,age
    Aaron_Eckhart,m,40-60
    Aaron_Guiel,m,

How a set of pairs calls its identities and images is `PairSet.identity_names` and `image_names`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import read_regular
from facedistill.data.pairs.pair_set import PairSet

KEYS = ("identity", "image")


@dataclass(frozen=True)
class GroupTable:
    """A table of groups.

    Attributes:
        name: The file.
        key: `identity` or `image`: what rows are about.
        attributes: For each attribute, the group by the row's name; unknown ones are absent.
    """

    name: str
    key: str
    attributes: Mapping[str, Mapping[str, str]]


def read_groups(path: str | Path) -> GroupTable:
    """Read a table of groups.

    Args:
        path: The CSV file, UTF-8.

    Raises:
        FacedistillError: If it has no such header, a line does not fit it, or a name comes twice.
    """
    path = Path(path)
    content = read_regular(path)
    try:
        lines = io.StringIO(content.decode("utf-8-sig"), newline="")
        rows = [(number, row) for number, row in enumerate(csv.reader(lines), start=1) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FacedistillError(f"{path} is no CSV file in UTF-8: {error}") from None
    header = [cell.strip() for cell in rows[0][1]] if rows else []
    if len(header) < 2 or header[0] not in KEYS or len(set(header)) != len(header):
        raise FacedistillError(
            f"{path}: the first line must be like `identity,sex,age` or `image,sex`, each once"
        )
    attributes: dict[str, dict[str, str]] = {attribute: {} for attribute in header[1:]}
    seen: set[str] = set()
    for number, row in rows[1:]:
        cells = [cell.strip() for cell in row]
        if len(cells) != len(header):
            raise FacedistillError(
                f"{path} line {number}: {len(cells)} cells, but the header has {len(header)}"
            )
        if cells[0] in seen:
            raise FacedistillError(f"{path} line {number}: {header[0]} {cells[0]} comes twice")
        seen.add(cells[0])
        for attribute, group in zip(header[1:], cells[1:], strict=True):
            if group:
                attributes[attribute][cells[0]] = group
    return GroupTable(str(path), header[0], attributes)


def pair_groups(
    pairset: PairSet, table: GroupTable, attribute: str
) -> tuple[np.ndarray, list[str]]:
    """Return each pair's two groups.

    Args:
        pairset: The pairs.
        table: The groups.
        attribute: One of the table's.

    Returns:
        int64 (P, 2), places in the list of group names, -1 where unknown; and that list, sorted.

    Raises:
        FacedistillError: If the table is about identities and the pairs do not know theirs, or it
            names none of their identities.
    """
    known = table.attributes[attribute]
    called = pairset.identity_names if table.key == "identity" else pairset.image_names
    if called is None:
        raise FacedistillError(
            f"{table.name} is about identities, but {pairset.name} does not name those of its "
            "images: give a table whose first column is `image`"
        )
    names = sorted({known[name] for name in called if name in known})
    if not names:
        example = next(iter(known), "nothing")
        raise FacedistillError(
            f"{table.name} knows no {table.key} of {pairset.name}: it has {example}, they are "
            f"called {called[0]}"
        )
    place = {name: number for number, name in enumerate(names)}
    codes = np.array([place[known[name]] if name in known else -1 for name in called], np.int64)
    return codes[pairset.pairs], names
