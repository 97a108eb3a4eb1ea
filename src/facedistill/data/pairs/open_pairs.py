"""Opening whatever holds pairs: what is given says which reader reads it."""

from __future__ import annotations

from pathlib import Path

from facedistill.core.errors import FacedistillError
from facedistill.core.regular_files import require_regular
from facedistill.data.formats.image_list import LIST_SUFFIXES
from facedistill.data.formats.procedural import PREFIX, parse_procedural
from facedistill.data.pairs.bin_pairs import read_bin
from facedistill.data.pairs.pair_drawing import DEFAULT_PAIRS, most_pairs
from facedistill.data.pairs.pair_list import read_pair_list
from facedistill.data.pairs.pair_set import PairSet

PAIRS_FILES = ("pairs.txt", "pairs.csv")


def is_pair_list(source: str | Path) -> bool:
    """Whether it can only be a list of pairs: a `.bin` file, or `FOLDER:LIST`.

    A folder with `pairs.txt` is a data set too.
    """
    folder, _, _ = str(source).rpartition(":")
    return Path(source).suffix.lower() == ".bin" or (bool(folder) and Path(folder).is_dir())


def open_pairs(source: str | Path, *, count: int | None = None, seed: int = 0) -> PairSet:
    """Open whatever holds pairs.

    Args:
        source: A `.bin` file, a folder that holds `pairs.txt` or `pairs.csv`, a list (see
            `read_pair_list`) whose images are in its folder, `FOLDER:LIST` with a list that is
            looked for beside you, then in the folder, or a specification such as
            `procedural:identities=100,images=10,seed=1,size=112`.
        count: Number of pairs to draw where they are drawn; by default 6,000, or as many as the
            faces give.
        seed: Which pairs are drawn.

    Raises:
        FacedistillError: If there is nothing there, it is something else or it is damaged.
    """
    text = str(source)
    if text.startswith(PREFIX):
        faces = parse_procedural(text)
        return PairSet.from_dataset(
            faces, count or min(DEFAULT_PAIRS, most_pairs(faces.labels)), seed
        )
    path = Path(source)
    if path.is_dir():
        return read_pair_list(path, _list_in(path))
    if path.suffix.lower() == ".bin":
        return read_bin(path)
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return read_pair_list(path.parent, path)
    folder, _, listed = text.rpartition(":")
    if folder and Path(folder).is_dir():
        beside = Path(listed)
        return read_pair_list(folder, beside if beside.exists() else Path(folder, listed))
    require_regular(path)
    kind = "does not hold pairs" if path.exists() else "no such file or folder"
    raise FacedistillError(
        f"{source}: {kind}; give a .bin file, a folder with {PAIRS_FILES[0]}, a list, FOLDER:LIST "
        f"or {PREFIX}identities=100,images=10"
    )


def _list_in(folder: Path) -> Path:
    for name in PAIRS_FILES:
        if (folder / name).exists():
            return folder / name
    raise FacedistillError(
        f"{folder}: no {' or '.join(PAIRS_FILES)} there; give a folder with one, or compare all "
        "images of a folder by identity with --all-pairs"
    )
